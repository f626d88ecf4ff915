import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Slot } from '../rollout/facts.ts';
import type { LabApi } from './api/index.ts';
import { FaultBook, type FaultKind } from './faults.ts';
import type { LabGate } from './gate.ts';
import { writeInside } from './inside.ts';
import { type KubeletTimings, NodeKubelet, type SystemInfo } from './kubelet.ts';
import type { BootResult, Machine } from './machine.ts';
import { NodeSsh } from './ssh-server.ts';
import type { ShellGate } from './ssh-session.ts';
import { poorer } from './tools.ts';

/** Milliseconds. */
export interface NodeTimings extends KubeletTimings {
  /** From the order to reboot until SSH is gone. */
  shutdownMs: number;
  /** From power-on until SSH answers. */
  bootMs: number;
}

export interface LabNodeOptions {
  name: string;
  machine: Machine;
  /** The folder of doubles and links: the node's whole PATH. */
  binDir: string;
  /** A loopback address of its own. */
  address: string;
  hostKey: string;
  authorizedKeys: readonly string[];
  api: Pick<LabApi, 'get' | 'setNode' | 'heartbeat'>;
  /** Told of every time the machine goes down or has come up. */
  onPower?: (up: boolean) => Promise<void>;
  timings: NodeTimings;
  /** The certificate of the image server's authority, as PEM. */
  ca: string;
  /** A certificate that has expired, as PEM. */
  expiredCertificate: () => Promise<string>;
  /** Where its commands stop. */
  gate?: LabGate;
  /** Where a line about what happens to the node goes. */
  log: (line: string) => void;
}

/** What `kubeos lab status` shows of a node. */
export interface LabNodeStatus {
  name: string;
  state: 'up' | 'booting' | 'down';
  /** Why it is down. */
  message?: string;
  slot?: Slot;
  /** It runs on a trial boot that nobody has committed yet. */
  trial?: boolean;
  version?: string;
  ssh: string;
  faults: readonly FaultKind[];
}

/** One node of the lab: its machine, SSH server and kubelet, and what is made to go wrong with them. */
export class LabNode {
  readonly name: string;
  readonly machine: Machine;
  readonly ssh: NodeSsh;
  readonly faults: FaultBook;
  readonly #options: LabNodeOptions;
  readonly #kubelet: NodeKubelet;
  #boot: BootResult | undefined;
  #state: LabNodeStatus['state'] = 'down';
  /** What is done to the node, one after the other. */
  #last: Promise<void> = Promise.resolve();
  #stopped = false;
  #restarting = false;

  constructor(options: LabNodeOptions) {
    const { name, machine, api, timings } = options;
    this.#options = options;
    this.name = name;
    this.machine = machine;
    this.faults = new FaultBook(machine.stateDir);
    this.#kubelet = new NodeKubelet(name, api, timings);
    this.ssh = new NodeSsh({
      address: options.address,
      hostKey: options.hostKey,
      authorizedKeys: options.authorizedKeys,
      shell: {
        env: (user) => machine.env(this.faults.has('missing-tool') ? poorer(options.binDir) : options.binDir, user),
        cwd: machine.root,
        cutInstead: () => this.#longStepBegan() && this.faults.strike('ssh-cut'),
        ...(machine.identity === undefined ? {} : { identity: machine.identity }),
        ...(options.gate === undefined ? {} : { gate: gateOf(name, options.gate) }),
      },
    });
  }

  status(): LabNodeStatus {
    const boot = this.#state === 'up' && this.#boot?.kind === 'up' ? this.#boot : undefined;
    const message = this.#state === 'down' && this.#boot?.kind === 'down' ? this.#boot.message : undefined;
    return {
      name: this.name,
      state: this.#state,
      ssh: `${this.ssh.address}:${this.ssh.port}`,
      faults: this.faults.list(),
      ...(boot === undefined ? {} : { slot: boot.slot, trial: this.#onTrial(boot), version: boot.version }),
      ...(message === undefined ? {} : { message }),
    };
  }

  /**
   * Powers the machine on at once. `register` is told of the system that came up, before the kubelet speaks.
   * Throws an Error where the machine does not come up.
   */
  async start(register: (info: SystemInfo) => void): Promise<void> {
    await this.#queue(async () => {
      const boot = await this.machine.boot();
      if (boot.kind === 'down') throw new Error(`${this.name} does not come up: ${boot.message}`);
      this.#boot = boot;
      this.#state = 'up';
      register(systemInfo(boot));
      await this.#settle();
    });
  }

  /** Ends the node with all its processes; nothing can be done to it afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#kubelet.stop();
    await this.ssh.close();
    await this.#last;
    this.#kubelet.stop();
    await this.ssh.close();
    await this.machine.killAll();
  }

  /** Looks whether somebody on the node ordered a reboot; to be called every now and then. */
  look(): void {
    if (this.#restarting || !existsSync(path.join(this.machine.stateDir, 'reboot'))) return;
    this.#restarting = true;
    this.#options.log(`${this.name}: reboot`);
    void this.#queue(async () => {
      await this.#powerOff(this.#options.timings.shutdownMs, 'booting');
      await this.#powerOn(this.#options.timings.bootMs);
    }).finally(() => {
      this.#restarting = false;
    });
  }

  /** Makes something go wrong. Resolves when it has begun, or lies in wait. */
  async setFault(kind: FaultKind): Promise<void> {
    this.faults.set(kind);
    this.#options.log(`${this.name}: fault ${kind}`);
    if (kind === 'expired-certificate') await this.#putCa(await this.#options.expiredCertificate());
    if (kind === 'power-off') await this.#queue(() => this.#powerOff(0, 'down'));
    if (kind === 'ssh-refused') await this.#queue(() => this.ssh.close());
  }

  /** Undoes a fault, or all of them; a machine that is down is powered on again. */
  async clearFault(kind?: FaultKind): Promise<void> {
    if (this.faults.has('expired-certificate') && (kind ?? 'expired-certificate') === 'expired-certificate') {
      await this.#putCa(this.#options.ca);
    }
    for (const one of kind === undefined ? this.faults.list() : [kind]) this.faults.clear(one);
    this.#options.log(`${this.name}: fault ${kind ?? 'all'} cleared`);
    await this.#queue(async () => {
      if (this.#state === 'down') await this.#powerOn(this.#options.timings.bootMs);
      else await this.#settle();
    });
  }

  #queue(act: () => Promise<void>): Promise<void> {
    const next = this.#last.then(async () => {
      if (!this.#stopped) await act();
    });
    this.#last = next.catch((error: unknown) => {
      this.#options.log(`${this.name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    });
    return next;
  }

  async #powerOff(afterMs: number, then: 'booting' | 'down'): Promise<void> {
    await sleep(afterMs);
    this.#state = then;
    this.#boot = { kind: 'down', message: 'the power is off', attempts: [] };
    await this.ssh.close();
    this.#kubelet.lose();
    await this.machine.killAll();
    await this.#options.onPower?.(false);
  }

  async #powerOn(afterMs: number): Promise<void> {
    this.#state = this.faults.has('power-off') ? 'down' : 'booting';
    if (this.#state === 'down') return;
    const next = (await this.machine.grubVariables())?.get('next_entry') ?? '';
    const trial = next !== '';
    const faults = {
      trialPanics: trial && this.faults.strike('boot-fails'),
      trialHangs: trial && this.faults.strike('never-comes-back'),
    };
    this.#boot = await this.machine.boot(faults).catch(cannotBoot);
    await sleep(afterMs);
    this.#state = this.#boot.kind;
    if (this.#boot.kind === 'down') this.#options.log(`${this.name}: down: ${this.#boot.message}`);
    else await this.#options.onPower?.(true);
    await this.#settle();
  }

  /** Brings SSH and kubelet in line with the machine and its faults. */
  async #settle(): Promise<void> {
    const boot = this.#boot;
    if (this.#state !== 'up' || boot?.kind !== 'up') return;
    this.#options.log(`${this.name}: up: slot ${boot.slot}${boot.trial ? ' on trial' : ''}, ${boot.version}`);
    if (this.faults.has('ssh-refused')) await this.ssh.close();
    else await this.ssh.open();
    this.#kubelet.start(systemInfo(boot), !(boot.trial && this.faults.has('unready')));
  }

  async #putCa(pem: string): Promise<void> {
    const { root, identity: owner } = this.machine;
    await writeInside(root, 'etc/KubeOS/certs/ca.crt', pem, { owner, mode: 0o600 });
  }

  /** A trial ends with its commit, not with the next boot. */
  #onTrial(boot: Extract<BootResult, { kind: 'up' }>): boolean {
    return boot.trial && this.machine.savedSlot() !== boot.slot;
  }

  #longStepBegan(): boolean {
    return existsSync(path.join(this.machine.root, 'run/kubeos/job'));
  }
}

const gateOf = (node: string, gate: LabGate): ShellGate => ({
  enter: (input) => gate.enter({ kind: 'command', node, input }),
  leave: (input) => gate.leave({ kind: 'command', node, input }),
});

/** Commands of the node may have left its tree such that the lab writes nothing there. */
function cannotBoot(error: unknown): BootResult {
  return { kind: 'down', message: error instanceof Error ? error.message : String(error), attempts: [] };
}

function systemInfo(boot: Extract<BootResult, { kind: 'up' }>): SystemInfo {
  const kernelVersion = boot.attempts.flatMap((one) => (one.kind === 'up' ? [one.kernelRelease] : [])).at(-1) ?? '';
  return { osImage: boot.version, bootId: boot.bootId, kernelVersion };
}

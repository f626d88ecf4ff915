import type { ClusterNode, NodeJournal, NodeObservation, Slot } from '../../src/rollout/facts.ts';
import type {
  Assignment,
  Artifact,
  Authority,
  BootReport,
  ContainerArtifact,
  DiskArtifact,
  Remote,
  StepProgress,
  Verified,
} from '../../src/rollout/ports.ts';
import type { ImageNotSeen, ImageSeen, PreflightRequest } from '../../src/rollout/preflight-types.ts';
import type { SimClient } from './client.ts';
import { BYTES, type SimMachine, type SimSystem } from './machine.ts';
import { badContent, endJob, isOpen, needEnv, needOpen, notProven, outOfOrder, Refusal } from './refusals.ts';
import { SimCalls } from './sim-calls.ts';
import { SimJobs } from './sim-jobs.ts';
import type { SimWorld } from './world.ts';

const BOOT_POLL_MS = 3000;

/** The port `Remote` over simulated machines: it refuses whatever the node scripts refuse. */
export class SimRemote implements Remote {
  readonly #client: SimClient;
  readonly #world: SimWorld;
  readonly #calls: SimCalls;
  readonly #jobs: SimJobs;

  constructor(client: SimClient) {
    this.#client = client;
    this.#world = client.world;
    this.#calls = new SimCalls(client);
    this.#jobs = new SimJobs(client, this.#calls);
  }

  async observe(node: ClusterNode, signal?: AbortSignal, preflight?: PreflightRequest): Promise<NodeObservation> {
    signal?.throwIfAborted();
    return this.#calls.call(node, 'observe', (machine) => machine.observe(preflight !== undefined));
  }

  async lookAtImage(
    node: ClusterNode,
    _artifact: DiskArtifact,
    signal?: AbortSignal,
  ): Promise<ImageSeen | ImageNotSeen> {
    signal?.throwIfAborted();
    return this.#calls.call(node, 'look', ({ name, hasCurl }) => {
      if (!hasCurl) throw new Refusal('a command is missing on the node', 'the node has no curl');
      if (this.#world.fault(name).noWayToImages === true) return { blame: 'way', reason: 'no route to the server' };
      return this.#world.imageServer;
    });
  }

  async claim(node: ClusterNode, by: Authority): Promise<void> {
    await this.#calls.change(node, by, 'claim', () => undefined);
  }

  async begin(node: ClusterNode, by: Authority, assignment: Assignment): Promise<void> {
    await this.#calls.change(node, by, 'begin', (machine) => {
      const { journal } = machine;
      const keys = ['operation', 'version', 'sha256', 'from', 'target'] as const;
      const same = journal !== undefined && isOpen(journal) && keys.every((key) => journal[key] === assignment[key]);
      if (same) {
        machine.journal = { ...journal, run: by.run, token: by.token };
        return;
      }
      endJob(machine);
      const fresh = { phase: 'started' as const, armedBootId: '', reason: '', updatedAt: 0 };
      machine.journal = { ...assignment, ...fresh, run: by.run, token: by.token };
    });
  }

  async stage(
    node: ClusterNode,
    by: Authority,
    artifact: Artifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<{ bytes: number; digest?: string }> {
    if ('reference' in artifact) return this.#stageContainer(node, by, artifact, onProgress, signal);
    await this.#jobs.run(node, by, 'stage', artifact.sha256, onProgress, signal, {
      done: (machine) => machine.artifact?.sha256 === artifact.sha256,
      stands: this.#world.stands.get(artifact.url),
      begin: (machine) => {
        needOpen(machine);
        if (!artifact.url.startsWith('http://') || artifact.flagSafe) return;
        this.#world.logs.push({ node: machine.name, message: 'the image address is insecure' });
        throw new Refusal('the image address is insecure', 'http without flagSafe: true');
      },
      end: (machine) => {
        machine.artifact = this.#arrived(machine, artifact.sha256);
      },
    });
    return { bytes: BYTES };
  }

  async #stageContainer(
    node: ClusterNode,
    by: Authority,
    { reference, sha256, digest, pinned }: ContainerArtifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<{ bytes: number; digest: string }> {
    const tags = this.#world.tags.get(reference) ?? [];
    let found = '';
    await this.#jobs.run(node, by, 'stage', sha256, onProgress, signal, {
      done: () => false,
      begin: needOpen,
      end: (machine) => {
        const image = this.#world.images.get(sha256);
        found = (tags.length > 1 ? tags.shift() : tags[0]) ?? '';
        const wanted = digest ?? pinned ?? found;
        if (image === undefined || found !== wanted) {
          throw new Refusal('the image is not the one that the spec names', `its digest is ${found}`);
        }
        machine.artifact = { ...image, ...this.#world.behaviour.get(machine.name) };
      },
    });
    return { bytes: BYTES, digest: found };
  }

  async write(
    node: ClusterNode,
    by: Authority,
    target: Slot,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<{ bytes: number }> {
    await this.#jobs.run(node, by, 'write', target, onProgress, signal, {
      done: () => false,
      begin: (machine) => {
        needOpen(machine);
        if (machine.artifact?.sha256 !== machine.journal?.sha256) throw outOfOrder('nothing is staged');
        this.#beginSlot(machine, target);
      },
      end: (machine) => this.#endSlot(machine, target, machine.artifact!),
    });
    return { bytes: BYTES };
  }

  async stream(
    node: ClusterNode,
    by: Authority,
    target: Slot,
    { sha256 }: DiskArtifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<{ bytes: number }> {
    await this.#jobs.run(node, by, 'write', `${target} streamed`, onProgress, signal, {
      done: (machine) => machine.slots[target].streamed === sha256,
      begin: (machine) => {
        needOpen(machine);
        if (machine.journal?.sha256 !== sha256) throw outOfOrder('the journal leads to another image');
        this.#beginSlot(machine, target);
      },
      end: (machine) => {
        this.#endSlot(machine, target, this.#arrived(machine, sha256));
        machine.slots[target].streamed = sha256;
      },
    });
    return { bytes: BYTES };
  }

  #arrived(machine: SimMachine, sha256: string): SimSystem {
    const image = this.#world.images.get(sha256);
    if (image === undefined || this.#world.fault(machine.name).corruptDownload === true) {
      throw new Refusal('the image is not the one that the spec names', 'its SHA-256 is another one');
    }
    return { ...image, ...this.#world.behaviour.get(machine.name) };
  }

  #beginSlot(machine: SimMachine, target: Slot): void {
    needEnv(machine);
    if (machine.permanent !== machine.active || machine.active === target) throw outOfOrder(`slot ${target} is unsafe`);
    this.#world.setEnv(machine, machine.active, undefined);
    this.#world.writeBegins(machine, target);
    machine.slots[target] = { dirty: true, stamp: machine.slots[target].stamp + 1 };
    this.#world.checkBootable(machine);
  }

  #endSlot(machine: SimMachine, target: Slot, content: SimSystem): void {
    if (this.#world.fault(machine.name).writeFails === true) {
      throw new Refusal('the disk did not take the image', 'I/O error');
    }
    machine.slots[target] = { ...machine.slots[target], content };
  }

  async verify(
    node: ClusterNode,
    by: Authority,
    assignment: Assignment,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<Verified> {
    const { imageServer } = this.#world;
    let basis: Verified['basis'] = 'content' in imageServer && imageServer.content === 'tar' ? 'files' : 'bytes';
    await this.#jobs.run(node, by, 'verify', assignment.target, onProgress, signal, {
      done: () => false,
      begin: (machine) => needOpen(machine),
      end: (machine) => {
        const slot = machine.slots[assignment.target];
        const { content } = slot;
        if (content === undefined || (assignment.operation === 'rollback' && slot.dirty))
          throw badContent('nothing boots');
        if (content.version !== assignment.version) throw badContent(`it holds ${content.version}`);
        if (assignment.operation === 'upgrade' && content.sha256 !== assignment.sha256) throw badContent('other bytes');
        if (assignment.operation === 'rollback')
          basis = machine.recordHolds(assignment.target) ? 'recorded digest' : 'content only';
        const record = { version: content.version, sha256: content.sha256, verifiedAt: 0, stamp: slot.stamp };
        machine.slots[assignment.target] = { ...slot, dirty: false, record };
        machine.journal = { ...machine.journal!, phase: 'verified' };
      },
    });
    return { version: assignment.version, basis };
  }

  async arm(node: ClusterNode, by: Authority, target: Slot, managedBoot: boolean): Promise<void> {
    await this.#calls.change(node, by, 'arm', (machine) => {
      needEnv(machine);
      const { journal } = machine;
      if (journal?.target !== target || (journal.phase !== 'verified' && journal.phase !== 'armed')) {
        throw outOfOrder('verify comes first');
      }
      if (target === machine.active || !machine.recordHolds(target))
        throw outOfOrder(`slot ${target} is not as verified`);
      if (managedBoot) machine.managedBoot = { state: 'yes' };
      machine.trialIsManaged = machine.managedBoot.state === 'yes';
      this.#world.setEnv(machine, machine.active, target);
      machine.journal = { ...journal, phase: 'armed', armedBootId: machine.bootId };
    });
  }

  async reboot(node: ClusterNode, by: Authority, purpose: 'trial' | 'send-back'): Promise<void> {
    const order = (machine: SimMachine): void => {
      needEnv(machine);
      const { journal } = machine;
      if (purpose === 'trial') {
        const { next } = machine.env;
        const armed = journal?.phase === 'armed' && journal.armedBootId === machine.bootId && next === journal.target;
        if (!armed || machine.permanent !== machine.active) {
          throw outOfOrder(`the boot environment does not lead to slot ${journal?.target ?? '?'}: arm comes first`);
        }
      } else {
        const tried = journal !== undefined && (isOpen(journal) || journal.phase === 'aborted');
        const trial = tried && journal.armedBootId !== '';
        if (!trial || journal.armedBootId === machine.bootId || journal.target !== machine.active) {
          throw outOfOrder('this boot is not a trial');
        }
      }
      this.#world.rebootByRun(machine);
    };
    await this.#calls.change(node, by, `reboot ${purpose}`, order, 0);
  }

  async awaitBoot(
    node: ClusterNode,
    previousBootId: string,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<BootReport | undefined> {
    const machine = this.#world.machine(node.name);
    const end = timeoutMs === 0 ? Infinity : this.#client.clock.now() + timeoutMs;
    for (;;) {
      signal.throwIfAborted();
      await this.#client.breathe(`boot-report ${node.name}`);
      if (this.#calls.reachable(machine) && machine.bootId !== previousBootId) {
        return { bootId: machine.bootId, active: machine.active, osVersion: machine.running.version };
      }
      if (this.#client.clock.now() >= end) {
        if (this.#world.fault(node.name).strangeHostKey === true) throw this.#calls.away(node.name);
        return undefined;
      }
      await this.#client.clock.sleep(BOOT_POLL_MS, signal);
    }
  }

  async deadMan(node: ClusterNode, by: Authority, spanMs: number): Promise<void> {
    const plant = (machine: SimMachine): void => {
      const { bootId } = machine;
      if (!machine.onTrial) return;
      machine.deadManAt = this.#world.clock.now() + spanMs;
      this.#world.clock.after(spanMs, () => {
        if (machine.bootId !== bootId || (machine.deadManAt ?? Infinity) > this.#world.clock.now()) return;
        this.#world.setEnv(machine, machine.journal!.from, undefined);
        machine.journal = { ...machine.journal!, phase: 'aborted', reason: 'no sign of life from kubeos' };
        machine.reset(1000);
      });
    };
    await this.#calls.change(node, by, 'dead-man', plant, 0);
  }

  async prove(
    node: ClusterNode,
    by: Authority,
    expected: { slot: Slot; version: string; adopt: boolean },
  ): Promise<void> {
    await this.#calls.change(node, by, 'prove', (machine) => {
      const { journal } = machine;
      if (journal?.target !== expected.slot || journal.phase === 'fell-back' || journal.phase === 'aborted') {
        throw outOfOrder('the journal does not lead here');
      }
      if (!expected.adopt && journal.armedBootId === '') throw outOfOrder('no trial was armed');
      if (!expected.adopt && journal.armedBootId === machine.bootId) throw notProven('it has not rebooted');
      if (machine.active !== expected.slot) throw notProven(`slot ${machine.active} runs`);
      if (machine.running.version !== expected.version) throw notProven(`it runs ${machine.running.version}`);
      if (journal.phase !== 'committed') machine.journal = { ...journal, phase: 'proven', provenBoot: machine.bootId };
    });
  }

  async commit(node: ClusterNode, by: Authority, slot: Slot): Promise<void> {
    await this.#calls.change(node, by, 'commit', (machine) => {
      const { journal } = machine;
      if (journal?.phase === 'committed' && journal.target === slot) return;
      if (journal?.phase !== 'proven' || journal.target !== slot || journal.provenBoot !== machine.bootId) {
        throw outOfOrder('prove comes first');
      }
      needEnv(machine);
      if (this.#world.fault(machine.name).commitFails === true) {
        throw new Refusal('the boot environment of GRUB is not usable', 'it did not keep what was written');
      }
      this.#world.setEnv(machine, slot, undefined);
      machine.journal = { ...journal, phase: 'committed' };
      machine.artifact = undefined;
      machine.deadManAt = undefined;
    });
  }

  async close(
    node: ClusterNode,
    by: Authority,
    outcome: 'aborted' | 'fell-back',
    reason: string,
  ): Promise<NodeJournal> {
    return this.#calls.change(node, by, `close ${outcome}`, (machine) => {
      const { journal } = machine;
      if (journal === undefined || journal.phase === 'committed') throw outOfOrder('there is nothing to close');
      endJob(machine);
      if (outcome === 'fell-back') {
        if (machine.active === journal.target) throw outOfOrder('it has not fallen back');
        if (journal.sha256 !== '') machine.failed.add(journal.sha256);
      }
      needEnv(machine);
      this.#world.setEnv(machine, machine.permanent, undefined);
      machine.deadManAt = undefined;
      machine.journal = { ...journal, phase: outcome, reason: reason.replaceAll('\n', '; ') };
      return machine.journal;
    });
  }

  async resetBoot(node: ClusterNode, by: Authority): Promise<{ removed: boolean }> {
    return this.#calls.change(node, by, 'reset-boot', (machine) => {
      const { journal, env } = machine;
      const tried = journal?.armedBootId !== '' && journal !== undefined && isOpen(journal);
      if (tried || env.next !== undefined) throw outOfOrder('the trial must end first');
      const removed = machine.managedBoot.state !== 'no';
      machine.managedBoot = { state: 'no' };
      return { removed };
    });
  }

  async log(node: ClusterNode, message: string): Promise<void> {
    await this.#calls.call(node, 'log', () => void this.#world.logs.push({ node: node.name, message }), 0);
  }

  async logTail(node: ClusterNode, lines: number): Promise<readonly string[]> {
    return this.#calls.call(
      node,
      'logs',
      ({ name }) => {
        const own = this.#world.logs.filter((line) => line.node === name).map(({ message }) => `kubeos: ${message}`);
        return own.slice(-lines);
      },
      0,
    );
  }
}

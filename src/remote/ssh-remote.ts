import * as z from 'zod';
import type { ClusterNode, NodeJournal, NodeObservation, Slot } from '../rollout/facts.ts';
import type {
  Assignment,
  Authority,
  BootReport,
  Clock,
  ContainerArtifact,
  Artifact,
  DiskArtifact,
  Remote,
  StepProgress,
  Verified,
} from '../rollout/ports.ts';
import type { ImageNotSeen, ImageSeen, PreflightRequest } from '../rollout/preflight-types.ts';
import type { Step } from '../rollout/steps.ts';
import { readAnswers, wholeNumber, yesOrNo, type Answers } from './answers.ts';
import { awaitBoot } from './await-boot.ts';
import { cleanText } from './clean-text.ts';
import { composeScript, type ScriptArguments } from './compose.ts';
import { runJob, type Job } from './jobs.ts';
import { NodeCalls } from './node-calls.ts';
import { readJournal, readLook, readObservation, readPreflight } from './observation.ts';
import { ConnectionPool } from './pool.ts';
import { orderReboot } from './reboot.ts';
import { RootShell } from './root-shell.ts';
import { DEAD_MAN_WATCH, type StepScript } from './scripts/index.ts';
import { ImageSender } from './send-image.ts';
import { DEFAULT_PATIENCE, type Patience, type RemoteHooks, type RemoteSettings } from './settings.ts';

const bytesSchema = z.object({ bytes: wholeNumber });
const removedSchema = z.object({ removed: yesOrNo });
const containerSchema = bytesSchema.extend({ digest: z.string() });
const verifiedSchema = z.object({
  version: z.string(),
  basis: z.enum(['bytes', 'files', 'recorded-digest', 'content']),
});
const BASIS = {
  bytes: 'bytes',
  files: 'files',
  'recorded-digest': 'recorded digest',
  content: 'content only',
} as const;

/** The nodes over SSH: the `Remote` port, by the scripts of docs/node-protocol.md. */
export class SshRemote implements Remote {
  readonly #pool: ConnectionPool;
  readonly #calls: NodeCalls;
  readonly #clock: Clock;
  readonly #patience: Patience;
  readonly #sender: ImageSender;
  readonly #notice: (message: string, node?: string) => void;
  readonly #notes = new Set<string>();
  #closed = false;
  readonly #assignments = new Map<string, Assignment>();

  constructor(settings: RemoteSettings, hooks: RemoteHooks & { clock: Clock }) {
    this.#clock = hooks.clock;
    this.#patience = { ...DEFAULT_PATIENCE, ...settings.patience };
    this.#notice = (message, node) => {
      if (!this.#closed) hooks.notice?.(message, node);
    };
    this.#pool = new ConnectionPool(settings, hooks.clock, (message) => {
      this.#notes.add(message);
      this.#notice(message);
    });
    this.#calls = new NodeCalls(this.#pool, hooks.clock, this.#notice, new RootShell(settings));
    this.#sender = new ImageSender(settings, this.#tools);
  }

  /** What the user should know of how nodes are reached: no working ssh, host keys that were trusted. */
  notes(): readonly string[] {
    return [...this.#notes];
  }

  /**
   * Ends every connection, and every wait for one, within a few seconds. What runs detached on the nodes goes on. No
   * notice comes any more: the result has been told.
   */
  async disconnect(): Promise<void> {
    this.#closed = true;
    this.#calls.close();
    await this.#pool.close();
  }

  async observe(node: ClusterNode, signal?: AbortSignal, preflight?: PreflightRequest): Promise<NodeObservation> {
    let fromMs = this.#clock.now();
    const options = {
      patienceMs: this.#patience.callMs,
      onSend: () => (fromMs = this.#clock.now()),
      ...(signal !== undefined && { signal }),
    };
    const answers = await this.#calls.call(node, 'observe', preflightArguments(preflight), options);
    const seen = readObservation(answers, node.name);
    if (preflight === undefined) return seen;
    return { ...seen, preflight: readPreflight(answers, node.name, { fromMs, toMs: this.#clock.now() }) };
  }

  async lookAtImage(
    node: ClusterNode,
    artifact: DiskArtifact,
    signal?: AbortSignal,
  ): Promise<ImageSeen | ImageNotSeen> {
    const args = addressArguments(artifact);
    const options = { patienceMs: 0, ...(signal !== undefined && { signal }) };
    return readLook(await this.#calls.call(node, 'look', args, options), node.name);
  }

  async claim(node: ClusterNode, by: Authority): Promise<void> {
    await this.#change(node, 'claim', by, {});
  }

  async begin(node: ClusterNode, by: Authority, assignment: Assignment): Promise<void> {
    this.#assignments.set(node.name, assignment);
    const { operation, version, replaced, sha256, from, target } = assignment;
    await this.#change(node, 'begin', by, { operation, version, replaced, sha256, from, target });
  }

  async stage(
    node: ClusterNode,
    by: Authority,
    artifact: Artifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<{ bytes: number; digest?: string }> {
    if ('reference' in artifact) return this.#stageContainer(node, by, artifact, onProgress, signal);
    const { sha256, limitRate, via } = artifact;
    if (via === 'ssh') return this.#sender.stage(node, by, artifact, onProgress, signal);
    const args = { ...addressArguments(artifact), sha256, limit: limitRate };
    const job: Job = { step: 'stage', by, args, mark: [sha256] };
    return readAnswers(await this.#run(node, job, onProgress, signal), bytesSchema, 'stage', node.name);
  }

  async #stageContainer(
    node: ClusterNode,
    by: Authority,
    { engine, reference, sha256, digest, pinned }: ContainerArtifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<{ bytes: number; digest: string }> {
    const args = { imagetype: engine, reference, sha256, digest, pinned };
    const mark = [sha256, engine, digest ?? pinned ?? ''];
    const job: Job = { step: 'stage', script: 'stage-container', by, args, mark };
    return readAnswers(await this.#run(node, job, onProgress, signal), containerSchema, 'stage', node.name);
  }

  async write(
    node: ClusterNode,
    by: Authority,
    target: Slot,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
    rate?: number,
  ): Promise<{ bytes: number }> {
    const { sha256 } = await this.#assignment(node);
    const job: Job = { step: 'write', by, args: { target, rate }, mark: [target, sha256] };
    return readAnswers(await this.#run(node, job, onProgress, signal), bytesSchema, 'write', node.name);
  }

  async stream(
    node: ClusterNode,
    by: Authority,
    target: Slot,
    artifact: DiskArtifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
    rate?: number,
  ): Promise<{ bytes: number }> {
    const { sha256, limitRate, via } = artifact;
    if (via === 'ssh') return this.#sender.stream(node, by, { target, rate }, artifact, onProgress, signal);
    const args = { ...addressArguments(artifact), sha256, limit: limitRate, target, rate };
    const job: Job = { step: 'write', script: 'stream', by, args, mark: [target, sha256, 'streamed'] };
    return readAnswers(await this.#run(node, job, onProgress, signal), bytesSchema, 'write', node.name);
  }

  async verify(
    node: ClusterNode,
    by: Authority,
    assignment: Assignment,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<Verified> {
    const { operation, target, version, sha256 } = assignment;
    const job: Job = {
      step: 'verify',
      by,
      args: { operation, target, version, sha256 },
      mark: [operation, target, version, sha256],
    };
    const answers = await this.#run(node, job, onProgress, signal);
    const verified = readAnswers(answers, verifiedSchema, 'verify', node.name);
    return { version: verified.version, basis: BASIS[verified.basis] };
  }

  async arm(node: ClusterNode, by: Authority, target: Slot, managedBoot: boolean): Promise<void> {
    const { version } = await this.#assignment(node);
    await this.#change(node, 'arm', by, { target, version, managed: managedBoot });
  }

  async reboot(node: ClusterNode, by: Authority, purpose: 'trial' | 'send-back'): Promise<void> {
    await orderReboot(this.#tools, node, by, purpose);
  }

  awaitBoot(
    node: ClusterNode,
    previousBootId: string,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<BootReport | undefined> {
    return awaitBoot(this.#tools, node, previousBootId, timeoutMs, signal);
  }

  async deadMan(node: ClusterNode, by: Authority, spanMs: number): Promise<void> {
    const { run, token } = by;
    const payload = composeScript(DEAD_MAN_WATCH, {});
    const args = { run, token, span: Math.ceil(spanMs / 1000), payload };
    await this.#calls.call(node, 'dead-man', args, { patienceMs: 0 });
  }

  async prove(
    node: ClusterNode,
    by: Authority,
    expected: { slot: Slot; version: string; adopt: boolean },
  ): Promise<void> {
    const { slot: target, version, adopt } = expected;
    await this.#change(node, 'prove', by, { target, version, adopt });
  }

  async commit(node: ClusterNode, by: Authority, slot: Slot): Promise<void> {
    await this.#change(node, 'commit', by, { target: slot });
  }

  async close(
    node: ClusterNode,
    by: Authority,
    outcome: 'aborted' | 'fell-back',
    reason: string,
  ): Promise<NodeJournal> {
    return readJournal(await this.#change(node, 'close', by, { outcome, reason: oneLine(reason) }), 'close', node.name);
  }

  async resetBoot(node: ClusterNode, by: Authority): Promise<{ removed: boolean }> {
    return readAnswers(await this.#change(node, 'reset-boot', by, {}), removedSchema, 'reset-boot', node.name);
  }

  async log(node: ClusterNode, message: string): Promise<void> {
    await this.#calls.call(node, 'log', { text: oneLine(message) }, { patienceMs: 0 });
  }

  async logTail(node: ClusterNode, lines: number): Promise<readonly string[]> {
    const text = await this.#calls.callForText(node, 'logs', { lines }, { patienceMs: 0 });
    return cleanText(text)
      .split('\n')
      .filter((line) => line !== '')
      .slice(-lines);
  }

  get #tools() {
    return { calls: this.#calls, clock: this.#clock, patience: this.#patience, notice: this.#notice };
  }

  #change(
    node: ClusterNode,
    script: StepScript & (Step | 'claim' | 'begin' | 'close' | 'reset-boot'),
    by: Authority,
    args: ScriptArguments,
  ): Promise<Answers> {
    const { run, token } = by;
    return this.#calls.call(node, script, { run, token, ...args }, { patienceMs: this.#patience.callMs });
  }

  #run(
    node: ClusterNode,
    job: Job,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<Answers> {
    return runJob(this.#tools, node, job, onProgress, signal);
  }

  // What the node is about to become: as this process said in `begin`, else as the node's journal says.
  async #assignment(node: ClusterNode): Promise<Pick<Assignment, 'version' | 'sha256'>> {
    return this.#assignments.get(node.name) ?? (await this.observe(node)).journal ?? { version: '', sha256: '' };
  }
}

function addressArguments(artifact: DiskArtifact): ScriptArguments {
  const { url, flagSafe, cacert, clientcert, clientkey, via, proxy } = artifact;
  return { url, flagsafe: flagSafe, cacert, clientcert, clientkey, via, proxy };
}

function preflightArguments(preflight: PreflightRequest | undefined): ScriptArguments {
  if (preflight === undefined) return {};
  const { certificates, engine } = preflight;
  return { preflight: certificates === undefined ? (engine ?? 'yes') : 'https', ...certificates };
}

function oneLine(text: string): string {
  return cleanText(text)
    .replaceAll(/\s*\n\s*/g, '; ')
    .replaceAll('\t', ' ')
    .trim();
}

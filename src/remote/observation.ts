import * as z from 'zod';
import { COMPRESSIONS } from '../rollout/artifacts.ts';
import type { BootEnvironment, ManagedBoot, NodeJournal, NodeObservation, Slot, SlotFacts } from '../rollout/facts.ts';
import type { ClockOffset, ImageNotSeen, ImageSeen, PreflightFacts } from '../rollout/preflight-types.ts';
import { readAnswers, singleValues, slotName, under, wholeNumber, yesOrNo, type Answers } from './answers.ts';

const UNSUPPORTED = [
  'verity',
  'partitions',
  'unknown-root',
  'no-boot-environment',
  'no-trial',
  'missing-tool',
] as const;

const nodeSchema = z.object({
  boot_id: z.string(),
  os_version: z.string().default(''),
  kernel: z.string().default(''),
  arch: z.string().default(''),
  firmware: z.enum(['uefi', 'bios']),
  token: wholeNumber.default(0),
  free_bytes: wholeNumber.default(0),
  has_curl: yesOrNo,
  has_wget: yesOrNo.default(false),
  unsupported: z.enum(UNSUPPORTED).optional(),
  unsupported_message: z.string().default(''),
  active: slotName.optional(),
  dead_man: wholeNumber.optional(),
  fallback: z.enum(['proven', 'likely', 'none']).optional(),
  fallback_because: z.string().default(''),
  managed: z.enum(['yes', 'stale', 'no']).optional(),
  managed_problem: z.string().optional(),
  journal_problem: z.string().optional(),
});

const slotSchema = z.object({
  device: z.string(),
  bytes: wholeNumber,
  fstype: z.string().default(''),
  label: z.string().default(''),
  version: z.string().optional(),
  content: z.enum(['bootable', 'unbootable', 'dirty']),
  problem: z.string().optional(),
  record_version: z.string().optional(),
  record_sha256: z.string().optional(),
  record_tag: z.string().optional(),
  record_verified_at: wholeNumber.optional(),
  streamed: z.string().optional(),
  record_holds: yesOrNo.default(false),
  failed_trial: yesOrNo.default(false),
});

const bootEnvSchema = z.object({
  path: z.string().default(''),
  saved: slotName.optional(),
  next: slotName.optional(),
  problem: z.string().optional(),
});

const journalSchema = z.object({
  run: z.string().default(''),
  token: wholeNumber,
  operation: z.enum(['upgrade', 'rollback']),
  version: z.string(),
  replaced: z.string().default(''),
  sha256: z.string().default(''),
  from: slotName,
  target: slotName,
  phase: z.enum(['started', 'verified', 'armed', 'proven', 'committed', 'fell-back', 'aborted']),
  armed_boot_id: z.string().default(''),
  reason: z.string().default(''),
  updated_at: wholeNumber.default(0),
});

/** The answers of `observe` as facts. Throws KubeosError where they are not what docs/node-protocol.md says. */
export function readObservation(answers: Answers, node: string): NodeObservation {
  const facts = readAnswers(answers, nodeSchema, 'observe', node);
  const slots = readSlots(answers, node);
  const bootEnv = readBootEnvironment(answers, node);
  return {
    bootId: facts.boot_id,
    osVersion: facts.os_version,
    kernelVersion: facts.kernel,
    architecture: facts.arch,
    firmware: facts.firmware,
    ...(facts.unsupported !== undefined && {
      unsupported: { code: facts.unsupported, message: facts.unsupported_message },
    }),
    ...(facts.active !== undefined && { active: facts.active }),
    ...(slots !== undefined && { slots }),
    ...(bootEnv !== undefined && { bootEnv }),
    ...(facts.fallback !== undefined && { fallback: { verdict: facts.fallback, because: facts.fallback_because } }),
    ...(facts.managed !== undefined && { managedBoot: managedBootOf(facts.managed, facts.managed_problem) }),
    token: facts.token,
    ...readJournalPart(answers, facts.journal_problem),
    freeBytes: facts.free_bytes,
    ...readArtifact(answers),
    ...readDetached(answers),
    ...(facts.dead_man !== undefined && { deadManMs: facts.dead_man * 1000 }),
    hasCurl: facts.has_curl,
    hasWget: facts.has_wget,
  };
}

const managedBootOf = (state: ManagedBoot['state'], problem: string | undefined): ManagedBoot => ({
  state,
  ...(problem !== undefined && { problem }),
});

const preflightSchema = z.object({
  time: wholeNumber.optional(),
  persist_read_only: yesOrNo.default(false),
  free_inodes: wholeNumber.optional(),
  'part.bytes': wholeNumber.default(0),
  engine_problem: z.string().optional(),
});

const TOOL = 'tool.';

/**
 * The answers of `observe` to a preflight request.
 * @param asked when it was sent and answered, on this machine's clock
 */
export function readPreflight(answers: Answers, node: string, asked: { fromMs: number; toMs: number }): PreflightFacts {
  const facts = readAnswers(answers, preflightSchema, 'observe', node);
  return {
    ...(facts.time !== undefined && { clock: offsetOf(facts.time, asked) }),
    persistReadOnly: facts.persist_read_only,
    ...(facts.free_inodes !== undefined && { freeInodes: facts.free_inodes }),
    partBytes: facts['part.bytes'],
    tools: [...under(answers, TOOL).keys()],
    certificateProblems: answers.get('certificate_problem') ?? [],
    ...(facts.engine_problem !== undefined && { engineProblem: facts.engine_problem }),
  };
}

// `date +%s` leaves out the part of a second that has gone.
const offsetOf = (seconds: number, { fromMs, toMs }: { fromMs: number; toMs: number }): ClockOffset => ({
  atLeastMs: seconds * 1000 - toMs,
  atMostMs: seconds * 1000 + 1000 - fromMs,
});

const CONTENTS = ['ext4', 'xfs', 'tar', 'gzip', 'xz', 'zstd', 'bzip2', 'disk', 'web-page', 'empty', 'unknown'] as const;

const lookSchema = z.discriminatedUnion('found', [
  z.object({
    found: z.literal('yes'),
    ranges: yesOrNo,
    bytes: wholeNumber.optional(),
    content: z.enum(CONTENTS),
  }),
  z.object({ found: z.literal('no'), blame: z.enum(['server', 'way']), problem: z.string() }),
]);

/** The answers of `look` as facts. Throws KubeosError where they are not what docs/node-protocol.md says. */
export function readLook(answers: Answers, node: string): ImageSeen | ImageNotSeen {
  const look = readAnswers(answers, lookSchema, 'look', node);
  if (look.found === 'no') return { blame: look.blame, reason: look.problem };
  return { ...(look.bytes !== undefined && { sizeBytes: look.bytes }), ranges: look.ranges, content: look.content };
}

/** A journal's keys, as `close` answers them. Throws KubeosError where they are none. */
export function readJournal(answers: Answers, script: string, node: string): NodeJournal {
  return toJournal(readAnswers(answers, journalSchema, script, node));
}

function readSlots(answers: Answers, node: string): Record<Slot, SlotFacts> | undefined {
  const [a, b] = (['A', 'B'] as const).map((slot) => under(answers, `${slot}.`));
  if (a?.has('device') !== true || b?.has('device') !== true) return undefined;
  return { A: readSlot(a, node), B: readSlot(b, node) };
}

function readSlot(answers: Answers, node: string): SlotFacts {
  const slot = readAnswers(answers, slotSchema, 'observe', node);
  return {
    device: slot.device,
    sizeBytes: slot.bytes,
    fsType: slot.fstype,
    label: slot.label,
    ...(slot.version !== undefined && { version: slot.version }),
    content: slot.content,
    ...(slot.problem !== undefined && { problem: slot.problem }),
    ...(slot.record_version !== undefined &&
      slot.record_sha256 !== undefined && {
        record: {
          version: slot.record_version,
          sha256: slot.record_sha256,
          ...(slot.record_tag !== undefined && { tag: slot.record_tag }),
          verifiedAt: slot.record_verified_at ?? 0,
        },
      }),
    ...(slot.record_sha256 === undefined &&
      slot.record_verified_at !== undefined && { contentJudgedAt: slot.record_verified_at }),
    ...(slot.streamed !== undefined && { streamed: slot.streamed }),
    recordHolds: slot.record_holds,
    failedTrial: slot.failed_trial,
  };
}

function readBootEnvironment(answers: Answers, node: string): BootEnvironment | undefined {
  const own = under(answers, 'env.');
  if (own.size === 0) return undefined;
  const { path, saved, next, problem } = readAnswers(own, bootEnvSchema, 'observe', node);
  return {
    path,
    ...(saved !== undefined && { saved }),
    ...(next !== undefined && { next }),
    ...(problem !== undefined && { problem }),
  };
}

// A journal that makes no sense is a fact about the node, not a failure of the look at it.
function readJournalPart(
  answers: Answers,
  problem: string | undefined,
): Pick<NodeObservation, 'journal' | 'journalProblem'> {
  if (problem !== undefined) return { journalProblem: problem };
  const own = singleValues(under(answers, 'journal.'));
  if (Object.keys(own).length === 0) return {};
  const parsed = journalSchema.safeParse(own);
  if (parsed.success) return { journal: toJournal(parsed.data) };
  return { journalProblem: parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ') };
}

function readArtifact(answers: Answers): Pick<NodeObservation, 'artifact'> {
  const { sha256, bytes, lacks } = singleValues(under(answers, 'artifact.'));
  if (sha256 === undefined || bytes === undefined || !/^\d+$/.test(bytes)) return {};
  const lacked = COMPRESSIONS.find((one) => one === lacks);
  return { artifact: { sha256, bytes: Number(bytes), ...(lacked !== undefined && { lacks: lacked }) } };
}

function readDetached(answers: Answers): Pick<NodeObservation, 'detached'> {
  const { step, id, running } = singleValues(under(answers, 'job.'));
  return step === undefined ? {} : { detached: { step, job: id ?? '', running: running === 'yes' } };
}

function toJournal(journal: z.infer<typeof journalSchema>): NodeJournal {
  const { armed_boot_id: armedBootId, updated_at: updatedAt, ...rest } = journal;
  return { ...rest, armedBootId, updatedAt };
}

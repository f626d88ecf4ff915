import { describe, expect, it } from 'vitest';
import { afterMark, parseAnswers, under } from '../../../src/remote/answers.ts';
import { readJournal, readObservation } from '../../../src/remote/observation.ts';

// The matchers, without their `any`.
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);
const including = (items: readonly unknown[]): unknown => expect.arrayContaining([...items]);

const JOURNAL = `run=r1
token=7
operation=upgrade
version=KubeOS 2.0.0
replaced=KubeOS 1.0.0
sha256=${'a'.repeat(64)}
from=A
target=B
phase=armed
armed_boot_id=b0
reason=
updated_at=1763900000`;

const WHOLE = `boot_id=b1
os_version=KubeOS 1.0.0
kernel=5.10.0
arch=x86_64
firmware=uefi
token=7
free_bytes=1048576
has_curl=yes
has_wget=yes
active=A
A.device=/dev/vda2
A.bytes=2147483648
A.fstype=ext4
A.label=ROOT-A
A.version=KubeOS 1.0.0
A.content=bootable
A.record_holds=no
A.failed_trial=no
B.device=/dev/vda3
B.bytes=2147483648
B.fstype=ext4
B.label=ROOT-B
B.version=KubeOS 2.0.0
B.content=dirty
B.problem=a write began and was never verified
B.record_version=KubeOS 2.0.0
B.record_sha256=${'b'.repeat(64)}
B.record_verified_at=1763800000
B.record_holds=yes
B.failed_trial=yes
env.path=/boot/efi/EFI/openEuler/grubenv
env.saved=A
env.next=B
${JOURNAL.split('\n')
  .map((line) => `journal.${line}`)
  .join('\n')}
artifact.sha256=${'a'.repeat(64)}
artifact.bytes=99
artifact.lacks=xz
job.step=write
job.id=write-1
job.running=yes
`;

const journal = {
  run: 'r1',
  token: 7,
  operation: 'upgrade',
  version: 'KubeOS 2.0.0',
  replaced: 'KubeOS 1.0.0',
  sha256: 'a'.repeat(64),
  from: 'A',
  target: 'B',
  phase: 'armed',
  armedBootId: 'b0',
  reason: '',
  updatedAt: 1_763_900_000,
};

describe('answers', () => {
  it('begin after the mark, whatever a login shell printed before', () => {
    expect(afterMark('Welcome!\nkubeos-answer:\na=1\n')).toBe('a=1\n');
    expect(afterMark('no line break: kubeos-answer:\na=1\n')).toBe('a=1\n');
    expect(afterMark('Welcome!\n')).toBeUndefined();
  });

  it('keep everything behind the first =, and every value of a key that repeats', () => {
    const answers = parseAnswers('a=x=y\nerr=one\nerr=two\nout.bytes=5\nnoise\n=x\n');
    expect(answers.get('a')).toEqual(['x=y']);
    expect(answers.get('err')).toEqual(['one', 'two']);
    expect(under(answers, 'out.')).toEqual(new Map([['bytes', ['5']]]));
    expect(answers.size).toBe(3);
  });

  it('are shown without secrets and control characters', () => {
    const answers = parseAnswers('reason=see https://u:secret@host/x \u001b[2J\n');
    expect(answers.get('reason')?.[0]).not.toMatch(/secret|\u001b/);
  });
});

describe('the answers of observe', () => {
  it('become facts', () => {
    expect(readObservation(parseAnswers(WHOLE), 'n')).toEqual({
      bootId: 'b1',
      osVersion: 'KubeOS 1.0.0',
      kernelVersion: '5.10.0',
      architecture: 'x86_64',
      firmware: 'uefi',
      active: 'A',
      token: 7,
      freeBytes: 1_048_576,
      hasCurl: true,
      hasWget: true,
      slots: {
        A: {
          device: '/dev/vda2',
          sizeBytes: 2_147_483_648,
          fsType: 'ext4',
          label: 'ROOT-A',
          version: 'KubeOS 1.0.0',
          content: 'bootable',
          recordHolds: false,
          failedTrial: false,
        },
        B: {
          device: '/dev/vda3',
          sizeBytes: 2_147_483_648,
          fsType: 'ext4',
          label: 'ROOT-B',
          version: 'KubeOS 2.0.0',
          content: 'dirty',
          problem: 'a write began and was never verified',
          record: { version: 'KubeOS 2.0.0', sha256: 'b'.repeat(64), verifiedAt: 1_763_800_000 },
          recordHolds: true,
          failedTrial: true,
        },
      },
      bootEnv: { path: '/boot/efi/EFI/openEuler/grubenv', saved: 'A', next: 'B' },
      journal,
      artifact: { sha256: 'a'.repeat(64), bytes: 99, lacks: 'xz' },
      detached: { step: 'write', job: 'write-1', running: true },
    });
  });

  it('tell when a slot was last judged by its content, where no digest of it is recorded', () => {
    const byContent =
      'A.record_version=KubeOS 1.0.0\nA.record_sha256=\nA.record_verified_at=1763800000\nA.record_holds=yes';
    const { slots } = readObservation(parseAnswers(WHOLE.replace('A.record_holds=no', byContent)), 'n');
    expect(slots?.A).toMatchObject({ contentJudgedAt: 1_763_800_000, recordHolds: true });
    expect(slots?.A.record).toBeUndefined();
  });

  it('may be few, on a node that cannot be worked on', () => {
    const text =
      'boot_id=b\nos_version=X\nfirmware=bios\nunsupported=verity\nunsupported_message=dm-verity root\nhas_curl=no\n';
    expect(readObservation(parseAnswers(text), 'n')).toMatchObject({
      unsupported: { code: 'verity', message: 'dm-verity root' },
      token: 0,
      freeBytes: 0,
    });
  });

  it('say why a journal cannot be read, by the node or by its odd content', () => {
    const base = 'boot_id=b\nfirmware=bios\nhas_curl=no\n';
    expect(readObservation(parseAnswers(`${base}journal_problem=torn\n`), 'n').journalProblem).toBe('torn');
    const odd = readObservation(parseAnswers(`${base}journal.phase=dancing\njournal.token=x\n`), 'n');
    expect(odd.journalProblem).toMatch(/phase/);
    expect(odd.journal).toBeUndefined();
  });

  it('that make no sense are a failure that names the key and keeps the lines', () => {
    expect(() => readObservation(parseAnswers('os_version=X\nfirmware=coreboot\n'), 'n')).toThrow(
      expect.objectContaining({
        name: 'KubeosError',
        node: 'n',
        reason: matching(/boot_id[^]*firmware/),
        logTail: including(['os_version=X']),
      }),
    );
  });
});

describe('the answers of close', () => {
  it('are the journal', () => {
    expect(readJournal(parseAnswers(JOURNAL), 'close', 'n')).toEqual(journal);
  });
});

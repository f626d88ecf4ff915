import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeTemporaryFolder } from '../../src/temporary-folder.ts';

let parent: string;
const DEAD = spawnSync('true').pid;
const HOUR = 3600;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'kubeos-folders-'));
});

afterEach(() => {
  rmSync(parent, { recursive: true });
});

/** A folder that was last changed so many hours ago. */
function left(name: string, hours: number, mode = 0o700): string {
  const folder = join(parent, name);
  mkdirSync(folder);
  mkdirSync(join(folder, 'inside'));
  chmodSync(folder, mode);
  const time = Date.now() / 1000 - hours * HOUR;
  utimesSync(folder, time, time);
  return name;
}

describe('a temporary folder', () => {
  it('is this user’s alone, and says whose it is', async () => {
    const folder = await makeTemporaryFolder(parent, 'ssh');
    expect(basename(folder)).toMatch(new RegExp(`^kubeos-ssh-${process.pid}-\\w{6}$`));
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it('is removed by a later run where its process was killed, and nothing else is', async () => {
    left(`kubeos-ssh-${DEAD}-abcdef`, 25);
    const others = [
      left(`kubeos-ssh-${DEAD}-recent`, 23),
      left(`kubeos-ssh-${DEAD}-shared`, 25, 0o755),
      left(`kubeos-ssh-${process.ppid}-living`, 25),
      left(`kubeos-ssh-${process.pid}-itsown`, 25),
      left(`kubeos-api-${DEAD}-otherk`, 25),
      left(`kubeos-ssh-${DEAD}`, 25),
    ];
    symlinkSync(join(parent, others[0] ?? ''), join(parent, `kubeos-ssh-${DEAD}-linked`));
    const made = await makeTemporaryFolder(parent, 'ssh');
    const kept = [...others, `kubeos-ssh-${DEAD}-linked`, basename(made)];
    expect(readdirSync(parent).sort()).toEqual(kept.sort());
  });
});

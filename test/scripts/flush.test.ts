import { spawnSync } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { withLibrary } from '../../src/remote/scripts/index.ts';
import { SHELLS, type Shell, makeBin, makeYard } from './node-bed.ts';

/** Says by a pipe that somebody reads that a file was to be forced to the disk, and ends as $RUN/ends says. */
const SYNC = `#!/bin/sh
[ "$1" != -f ] || exit 0
run=$KUBEOS_ROOT/run/kubeos
if [ ! -e "$run/told" ]; then : >"$run/told"; echo sync >"$run/pipe"; fi
exit "$(cat "$run/ends")"
`;
/** Says so by the pipe, and ends as it is told by a pipe of its own: go.1 for the first one, go.2 for the second. */
const HELD = `#!/bin/sh
[ "$1" != -f ] || exit 0
run=$KUBEOS_ROOT/run/kubeos
if mkdir "$run/first" 2>/dev/null; then own=go.1; else own=go.2; fi
echo "$own" >"$run/pipe"
read -r ends <"$run/$own"
exit "$ends"
`;
const WITHOUT_PATHS = '#!/bin/sh\n[ $# -eq 0 ] || exit 1\n';

let yard: Awaited<ReturnType<typeof makeYard>>;
let bins = 0;
const run = (): string => path.join(yard.dir, 'run/kubeos');

beforeAll(async () => {
  yard = await makeYard();
});

afterAll(() => yard.remove());

beforeEach(async () => {
  await rm(run(), { recursive: true, force: true });
  await mkdir(run(), { recursive: true });
});

/** What a step is told at the end of its flushes: `kept` or `lost`. */
async function flush(shell: Shell, sync: string, body: string): Promise<string> {
  bins += 1;
  const bin = await makeBin(path.join(yard.dir, `bin-${bins}`), shell, { sync });
  const own = `main() {
    mkfifo "$RUN/pipe"
    exec 6<>"$RUN/pipe"
    came() { cat "$RUN/came"; }
    ${body}
    if end_flushing; then echo kept; else echo lost; fi
  }`;
  const ran = spawnSync(path.join(bin, 'sh'), ['-s'], {
    input: `${withLibrary(own)}\n{ main </dev/null; }\n`,
    encoding: 'utf8',
    env: { PATH: bin, KUBEOS_ROOT: yard.dir },
    timeout: 30_000,
  });
  expect(ran.stderr).toBe('');
  return ran.stdout.trim();
}

const once = (ends: number): string => `
    echo ${ends} >"$RUN/ends"
    echo 33554432 >"$RUN/came"
    flush_as_it_comes came "$RUN/file"
    read -r told <"$RUN/pipe"
    [ "$told" = sync ]`;

describe.each(SHELLS)('a flush on the way, under %s', (shell) => {
  it('keeps what the disk took', async () => {
    expect(await flush(shell, SYNC, once(0))).toBe('kept');
  });

  it('tells at the end what the disk did not take, which no later one would hear of', async () => {
    expect(await flush(shell, SYNC, once(1))).toBe('lost');
  });

  it('is none where too little came', async () => {
    const body = `
      echo 1 >"$RUN/ends"
      came() {
        if [ ! -e "$RUN/twice" ]; then
          if [ -e "$RUN/once" ]; then : >"$RUN/twice"; else : >"$RUN/once"; fi
          echo asked >"$RUN/pipe"
        fi
        echo 33554431
      }
      flush_as_it_comes came "$RUN/file"
      read -r told <"$RUN/pipe"
      read -r again <"$RUN/pipe"
      echo "$told $again"`;
    expect(await flush(shell, SYNC, body)).toBe('asked asked\nkept');
  });

  it('of what was thrown away meanwhile is none that the disk refused', async () => {
    const body = `
      came() { if [ -e "$RUN/told" ]; then echo 0; else echo 33554432; fi; }
      echo 1 >"$RUN/ends"
      flush_as_it_comes came "$RUN/file"
      read -r told <"$RUN/pipe"`;
    expect(await flush(shell, SYNC, body)).toBe('kept');
  });

  it.each([
    [0, 0, 'kept'],
    [1, 0, 'lost'],
    [0, 1, 'lost'],
  ])('begins while another waits for the disk; they end with %i and %i: %s', async (first, second, told) => {
    const body = `
      mkfifo "$RUN/go.1" "$RUN/go.2"
      echo 33554432 >"$RUN/came"
      flush_as_it_comes came "$RUN/file"
      read -r one <"$RUN/pipe"
      echo 67108864 >"$RUN/next" && mv "$RUN/next" "$RUN/came"
      read -r two <"$RUN/pipe"
      echo "$one $two"
      echo ${first} >"$RUN/go.1"
      echo ${second} >"$RUN/go.2"`;
    expect(await flush(shell, HELD, body)).toBe(`go.1 go.2\n${told}`);
  });

  it('is left out where sync takes no path', async () => {
    const body = 'echo 33554432 >"$RUN/came"; flush_as_it_comes came "$RUN/file"';
    expect(await flush(shell, WITHOUT_PATHS, body)).toBe('kept');
  });
});

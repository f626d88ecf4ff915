import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, open, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runMain } from './cli-bed.ts';
import type { Finished } from './lab-bed.ts';

// No lab here: what is wrong in itself is refused before anything is asked of a cluster or a node.
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SAMPLES = path.join(ROOT, 'test/fixtures/specs');
let folder: string;
let env: Record<string, string>;
let touched: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-input-'));
  touched = path.join(folder, 'touched');
  const kubectl = path.join(folder, 'kubectl');
  await writeFile(kubectl, `#!/bin/sh\n: >'${touched}'\nexit 1\n`, { mode: 0o755 });
  env = { PATH: process.env['PATH'] ?? '', HOME: folder, KUBEOS_KUBECTL: kubectl };
  await writeFile(path.join(folder, 'good.yaml'), GOOD);
  await writeFile(path.join(folder, 'back.yaml'), GOOD.replace('opstype: upgrade', 'opstype: rollback'));
  await copyFile(path.join(ROOT, 'examples/upgrade-docker.yaml'), path.join(folder, 'docker.yaml'));
  await copyFile(path.join(ROOT, 'examples/upgrade-containerd.yaml'), path.join(folder, 'containerd.yaml'));
  await writeFile(path.join(folder, 'hosts.yaml'), '- name: worker-1\n  adress: 10.0.0.1\n');
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

const GOOD = `apiVersion: upgrade.openeuler.org/v1alpha1
kind: OS
metadata:
  name: os-sample
spec:
  imagetype: disk
  opstype: upgrade
  osversion: KubeOS 2.0.0
  maxunavailable: 2
  dockerimage: ""
  imageurl: https://192.168.122.15/update.img
  checksum: ${'5b1a9e1d'.repeat(8)}
  flagSafe: false
  mtls: false
  cacert: ca.crt
`;

/** Runs a command line in which @ stands for the test's folder. */
const run = (line: string, input = ''): Promise<Finished> =>
  runMain(
    line
      .split(' ')
      .filter((word) => word !== '')
      .map((word) => (word === "''" ? '' : word.replace('@', folder))),
    env,
    input,
  );

/** What it printed, on one line. */
const words = ({ stdout, stderr }: Finished): string => `${stdout} ${stderr}`.replaceAll(/\s+/g, ' ');

describe('a command line that is wrong: exit 2, what is wrong, and nothing is touched', () => {
  it.runIf(existsSync('/dev/full'))('a full disk under standard output is no bug: exit 4, and why', async () => {
    const full = await open('/dev/full', 'w');
    const child = spawn(process.execPath, [path.join(ROOT, 'bin/kubeos.js'), 'validate', '-f', `${folder}/good.yaml`], {
      env,
      stdio: ['ignore', full.fd, 'pipe'],
    });
    const ended = once(child, 'close');
    const said = child.stderr === null ? '' : await text(child.stderr);
    expect([(await ended)[0], said.split('\n')[0]]).toEqual([
      4,
      'x standard output cannot be written: no space left on device',
    ]);
    expect(said).toContain('give the same command again');
    await full.close();
  });

  it.each([
    ['', 'Commands:'],
    ['upgrad -f @/good.yaml', "unknown command 'upgrad'"],
    ['upgrade', 'upgrade -f FILE'],
    ['plan', 'plan -f FILE'],
    ['validate', 'validate -f FILE'],
    ['upgrade -f @/none.yaml', 'none.yaml'],
    ['upgrade -f @', 'directory'],
    ['upgrade -f -', 'empty'],
    ['upgrade -f @/good.yaml --yess', "unknown option '--yess'"],
    ['upgrade -f @/good.yaml worker-1', 'worker-1'],
    ['upgrade -f @/good.yaml --ask-sudo-password', 'KUBEOS_SUDO_PASSWORD'],
    ['upgrade -f @/good.yaml --maxunavailable 0', '--maxunavailable "0"'],
    ['upgrade -f @/good.yaml --maxunavailable two', '--maxunavailable "two"'],
    ['upgrade -f @/good.yaml --maxunavailable 101%', 'from 1% to 100%'],
    ['upgrade -f @/good.yaml --maxunavailable 1.5', '--maxunavailable "1.5"'],
    ['upgrade -f @/good.yaml --canary -1', '--canary: "-1"'],
    ['upgrade -f @/good.yaml --max-failures none', '--max-failures: "none"'],
    ['upgrade -f @/good.yaml --drain-timeout 10', '--drain-timeout: "10" is not a duration'],
    ['upgrade -f @/good.yaml --health-timeout 5min', 'write it like 90s, 10m or 1h30m'],
    ["upgrade -f @/good.yaml --reboot-timeout ''", '--reboot-timeout: "" is not a duration'],
    ['upgrade -f @/good.yaml --grace-period -2', '--grace-period: "-2"'],
    ['upgrade -f @/good.yaml --ssh-port 70000', '65535 is the highest'],
    ['upgrade -f @/good.yaml --ssh-port ssh', '--ssh-port: "ssh"'],
    ['upgrade -f @/good.yaml --nodes a,,b', 'holds an empty name'],
    ['upgrade -f @/good.yaml --write sometimes', 'is none of these: before-drain, after-drain'],
    ['upgrade -f @/good.yaml --write-rate fast', '--write-rate: "fast" is no rate'],
    ['upgrade -f @/good.yaml --write-rate 10', '--write-rate: "10" is too slow for an image'],
    ['upgrade -f @/docker.yaml --via ssh', '--via is for images of imagetype disk'],
    ['plan -f @/docker.yaml --stream', '--stream is for images of imagetype disk'],
    ['upgrade -f @/containerd.yaml --stream always', "pulled by each node's own containerd"],
    ['upgrade -f @/good.yaml -o xml', 'is none of these: text, json'],
    ['upgrade -f @/good.yaml --hosts @/none', '--hosts'],
    ['upgrade -f @/good.yaml --hosts @/hosts.yaml', 'adress'],
    ['upgrade -f @/back.yaml', 'kubeos rollback -f'],
    ['plan -f @/back.yaml --via ssh', '--via is for upgrades: a rollback brings no image'],
    ['plan --to-previous --reinstall --write after-drain', '--write, --reinstall are for upgrades'],
    ['plan --to-previous -f @/good.yaml', 'not -f and --to-previous together'],
    ['rollback', '--to-previous, --to-other-slot, -f FILE'],
    ['rollback --to-previous -f @/back.yaml', 'not -f and --to-previous together'],
    ['rollback --to-previous --to-other-slot', 'one way at a time'],
    ['rollback -f @/good.yaml', 'this spec is an upgrade'],
    ['rollback --to-previous --reinstall', "unknown option '--reinstall'"],
    ['status -o toml', 'is none of these: text, wide, json, yaml'],
    ['status worker-1', 'worker-1'],
    ['logs', "missing required argument 'node'"],
    ['logs worker-1 -n 0', '--lines: "0"'],
    ['lab start --nodes 0', '--nodes: "0"'],
    ['lab fault worker-1 earthquake', 'take one of these: ssh-refused'],
  ])('kubeos %s', async (line, said) => {
    const ended = await run(line);
    expect([ended.code, words(ended)]).toEqual([2, expect.stringContaining(said)]);
    expect(ended.stderr).not.toBe('');
    expect(words(ended)).not.toMatch(/[✗x] a bug in kubeos:/);
    expect(existsSync(touched)).toBe(false);
  });

  it('is told as data too, where data is wanted', async () => {
    const ended = await run('upgrade -f @/good.yaml --maxunavailable 0 -o json');
    expect(JSON.parse(ended.stdout)).toMatchObject({
      kind: 'Error',
      exitCode: 2,
      error: { name: 'UsageError', bug: false },
    });
  });

  it('is no question for help and version', async () => {
    const help = await run('--help');
    expect([help.code, help.stdout]).toEqual([0, expect.stringMatching(/Exit codes:(.|\n)*130 +interrupted/)]);
    for (const command of ['validate', 'plan', 'upgrade', 'rollback', 'status', 'logs', 'lab', 'lab start']) {
      const one = await run(`${command} --help`);
      expect([one.code, one.stderr, one.stdout]).toEqual([0, '', expect.stringContaining(`kubeos ${command}`)]);
      expect(Math.max(...one.stdout.split('\n').map((text) => text.length))).toBeLessThanOrEqual(100);
    }
    const { version } = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(await run('--version')).toMatchObject({ code: 0, stdout: `${version}\n` });
  });
});

describe('a spec that is wrong: exit 2 by every command, with the line and a way to mend it', () => {
  const change = (field: string, value: string | undefined): string =>
    GOOD.replace(new RegExp(`^ *${field}: .*\n`, 'm'), value === undefined ? '' : `  ${field}: ${value}\n`);

  it.each([
    ['osversion: missing', change('osversion', undefined), 'osversion'],
    ['osversion: a placeholder', change('osversion', 'edit.os.version'), 'edit.os.version'],
    ['osversion: a number', change('osversion', '1.0'), 'quote'],
    ['maxunavailable: two', change('maxunavailable', 'two'), 'maxunavailable must be a whole number of at least 1'],
    ['maxunavailable: 0', change('maxunavailable', '0'), 'at least 1'],
    ['maxUnavailable', change('maxunavailable', '2\n  maxUnavailable: 2'), 'did you mean maxunavailable'],
    ['imagetype: floppy', change('imagetype', 'floppy'), 'disk'],
    ['opstype: config', change('opstype', 'config'), 'config'],
    ['dockerimage: missing', change('dockerimage', undefined), 'dockerimage: ""'],
    ['imageurl: ftp', change('imageurl', 'ftp://h/i.img'), 'http'],
    ['imageurl: none', change('imageurl', '""'), 'imageurl'],
    ['checksum: short', change('checksum', 'abc'), '64'],
    ['checksum: none', change('checksum', '""'), 'checksum'],
    ['flagSafe: a text', change('flagSafe', '"true"'), 'flagSafe'],
    ['mtls: without its keys', change('mtls', 'true'), 'clientcert'],
    ['cacert: missing', change('cacert', undefined), 'cacert'],
    ['cacert: a path', change('cacert', '../ca.crt'), 'cacert'],
    ['executionmode: serial', `${GOOD}  executionmode: serial\n`, 'executionmode'],
    ['sysconfigs', `${GOOD}  sysconfigs:\n    version: "1"\n`, 'sysconfigs'],
    ['an unknown field', `${GOOD}  reboot: never\n`, 'reboot'],
    ['a second document', `${GOOD}---\n${GOOD}`, 'second'],
    ['another kind', GOOD.replace('kind: OS', 'kind: Pod'), 'Pod'],
    ['another apiVersion', GOOD.replace('v1alpha1', 'v9'), 'v9'],
    ['a tab', GOOD.replace('  opstype', '\topstype'), 'tab'],
    ['a duplicate key', `${GOOD}  mtls: true\n`, 'mtls'],
    ['no YAML', ': : {', 'colon'],
    ['an empty file', '', 'empty'],
    ['comments alone', '# nothing\n', 'holds no OS'],
    ['binary', '\u0000\u0001\u0002\u0003', 'binary'],
    ['too much', `${GOOD}# ${'x'.repeat(300 * 1024)}\n`, '256 KiB'],
    ['an alias bomb', `a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b]\n`, 'error'],
  ])('%s', async (_what, text, said) => {
    for (const line of ['validate -f -', 'plan -f -', 'upgrade -f - -y']) {
      const ended = await run(line, text);
      expect([ended.code, words(ended)]).toEqual([2, expect.stringMatching(new RegExp(said, 'i'))]);
      expect(ended.stderr).toMatch(/<stdin>.*error: /);
      expect(words(ended)).not.toMatch(/[✗x] a bug in kubeos:/);
    }
    const data = await run('validate -f - -o json', text);
    expect([data.code, JSON.parse(data.stdout)]).toEqual([
      2,
      expect.objectContaining({ kind: 'Validation', valid: false }),
    ]);
    expect(existsSync(touched)).toBe(false);
  });

  it('shows all its mistakes at once, each with its place', async () => {
    const text = GOOD.replace('maxunavailable: 2', 'maxunavailable: two')
      .replace('5b1a', 'xxxx')
      .replace('mtls', 'mtsl');
    const { stderr } = await run('validate -f -', text);
    expect(stderr.match(/<stdin>:\d+:\d+: error/g)?.length).toBeGreaterThanOrEqual(3);
    expect(stderr).toMatch(/\d errors/);
  });
});

describe('the samples of KubeOS’s usage instructions', () => {
  it('are found one by one: placeholders and one-liners refused with their mends, filled in accepted', async () => {
    const names = await readdir(SAMPLES);
    expect(names.length).toBeGreaterThanOrEqual(9);
    for (const name of names) {
      const ended = await run(`validate -f ${path.join(SAMPLES, name)}`);
      expect([name, ended.code]).toEqual([name, name.includes('filled-in') ? 0 : 2]);
      if (name.includes('one-line')) expect(ended.stderr.replace(/\s+/g, ' ')).toMatch(/one line|line breaks/i);
      if (name === 'disk-placeholders.yaml') {
        for (const placeholder of ['edit.os.version', 'edit.node.upgrade.number', 'edit.image.url', 'image.checksum']) {
          expect(ended.stderr).toContain(placeholder);
        }
      }
      if (name === 'rollback-placeholders.yaml')
        expect(ended.stderr).toMatch(/KubeOS pervious version(.|\n)*mtls: true/);
    }
  });

  it('and our own examples are valid', async () => {
    for (const name of [
      'upgrade-disk',
      'upgrade-disk-mtls',
      'upgrade-tar',
      'upgrade-docker',
      'upgrade-containerd',
      'rollback',
    ]) {
      expect(await run(`validate -f ${path.join(ROOT, 'examples', `${name}.yaml`)}`)).toMatchObject({ code: 0 });
    }
  });
});

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ParsedKey } from 'ssh2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planKeys, type Credentials } from '../../../src/remote/auth.ts';
import { KeyRing } from '../../../src/remote/keys.ts';
import { DEFAULT_RULES } from '../../../src/remote/sign-in-rules.ts';

// The matchers, without their `any`.
const containing = (text: string): unknown => expect.stringContaining(text);

let dir: string;
const path = (name: string): string => join(dir, name);
const keygen = (...args: string[]): unknown => execFileSync('ssh-keygen', ['-q', ...args], { stdio: 'pipe' });

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'kubeos-keys-'));
  keygen('-t', 'ed25519', '-N', '', '-C', '', '-f', path('plain'));
  keygen('-t', 'ed25519', '-N', '', '-C', 'two', '-f', path('other'));
  keygen('-t', 'ed25519', '-N', 'sesame', '-a', '1', '-C', '', '-f', path('locked'));
  keygen('-t', 'ed25519', '-N', '', '-C', '', '-f', path('certified'));
  keygen('-s', path('other'), '-I', 'me', '-n', 'root', path('certified.pub'));
  writeFileSync(path('token'), fidoKey());
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A private key file as `ssh-keygen -t ed25519-sk` writes it, as far as its type is told (PROTOCOL.key). */
function fidoKey(): string {
  const text = (value: string | Buffer): Buffer => {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const publicKey = Buffer.concat([text('sk-ssh-ed25519@openssh.com'), text(Buffer.alloc(32, 7)), text('ssh:')]);
  const count = Buffer.from([0, 0, 0, 1]);
  const fields = [Buffer.from('openssh-key-v1\0'), text('none'), text('none'), text(''), count, text(publicKey)];
  const body = Buffer.concat([...fields, text(Buffer.alloc(64))]).toString('base64');
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${body}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

const credentials = (keyFiles: readonly string[], change: Partial<Credentials> = {}): Credentials => ({
  user: 'root',
  keyFiles: keyFiles.map(path),
  explicit: true,
  identitiesOnly: false,
  agentSocket: undefined,
  rules: DEFAULT_RULES,
  ...change,
});

const ring = (passphrase?: string) => new KeyRing({ passphrase, askPassphrase: undefined });

describe('a key', () => {
  it('on a FIDO token is told as that, with its file', async () => {
    const plan = await planKeys(credentials(['token', 'plain']), ring());
    expect(plan.offers).toHaveLength(1);
    expect(plan.problems).toEqual([
      `${path('token')}: a key on a FIDO token (sk-ssh-ed25519@openssh.com), which kubeos cannot use`,
    ]);
  });

  it('with a certificate beside it is offered without, and that is said', async () => {
    const plan = await planKeys(credentials(['certified']), ring());
    expect(plan.offers).toHaveLength(1);
    expect(plan.problems).toEqual([
      `${path('certified')}-cert.pub: an OpenSSH certificate, which kubeos cannot use; the plain key is offered`,
    ]);
  });

  it('that is a certificate itself, or one that CertificateFile names, is told as that', async () => {
    const rules = { ...DEFAULT_RULES, certificateFiles: ['/etc/cert.pub'] };
    const plan = await planKeys(credentials(['certified-cert.pub'], { rules }), ring());
    expect(plan.offers).toEqual([]);
    expect(plan.problems).toEqual([
      containing('an OpenSSH certificate (ssh-ed25519-cert-v01@openssh.com)'),
      '/etc/cert.pub: an OpenSSH certificate, which kubeos cannot use',
    ]);
  });

  it('that is encrypted is opened by the passphrase of the environment in BatchMode, and by no question', async () => {
    const rules = { ...DEFAULT_RULES, batch: true };
    expect((await planKeys(credentials(['locked'], { rules }), ring('sesame'))).offers).toHaveLength(1);
    const asking = new KeyRing({ passphrase: undefined, askPassphrase: () => Promise.reject(new Error('asked')) });
    const plan = await planKeys(credentials(['locked'], { rules }), asking);
    expect(plan).toMatchObject({ offers: [], locked: [], problems: [containing('it is encrypted')] });
  });

  it('is not even looked for where PubkeyAuthentication is off', async () => {
    const rules = { ...DEFAULT_RULES, methods: ['password' as const] };
    expect(await planKeys(credentials(['plain', 'absent'], { rules }), ring())).toMatchObject({
      offers: [],
      problems: [],
    });
  });
});

describe('a key in PKCS#8, as OpenSSL writes it,', () => {
  const KINDS = {
    ed25519: () => generateKeyPairSync('ed25519'),
    'ecdsa-sha2-nistp256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    'ecdsa-sha2-nistp521': () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
    'ssh-rsa': () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  };

  it.each(Object.entries(KINDS))('is offered: %s, encrypted or not', async (kind, make) => {
    const { privateKey, publicKey } = make();
    const plain = privateKey.export({ type: 'pkcs8', format: 'pem' });
    const locked = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'sesame' });
    writeFileSync(path('pkcs8'), plain);
    writeFileSync(path('pkcs8-locked'), locked);
    const plan = await planKeys(credentials(['pkcs8', 'pkcs8-locked']), ring('sesame'));
    expect(plan).toMatchObject({ problems: [], locked: [] });
    expect(plan.offers.map(({ text }) => text)).toEqual([containing(kind), containing(kind)]);
    for (const { method } of plan.offers) {
      const key = (method as unknown as { key: ParsedKey }).key;
      const signature = key.sign('anything');
      expect(key.verify('anything', signature)).toBe(true);
      const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
      expect(key.getPublicPEM().replaceAll(/\s/g, '')).toBe(pem.replaceAll(/\s/g, ''));
    }
  });

  it('that its passphrase does not open, or that no server takes, is told as that', async () => {
    const locked = KINDS.ed25519().privateKey.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'sesame',
    });
    writeFileSync(path('pkcs8-locked'), locked);
    writeFileSync(path('ed448'), generateKeyPairSync('ed448').privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const plan = await planKeys(credentials(['pkcs8-locked', 'ed448']), ring('wrong'));
    expect(plan.offers).toEqual([]);
    expect(plan.problems).toEqual([
      `${path('pkcs8-locked')}: KUBEOS_SSH_PASSPHRASE does not open it`,
      `${path('ed448')}: no SSH server takes a key of the kind ed448`,
    ]);
  });
});

describe('the agent', () => {
  let socket: string;
  let agent: ReturnType<typeof spawn>;

  beforeAll(async () => {
    socket = path('agent.sock');
    agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    const env = { ...process.env, SSH_AUTH_SOCK: socket };
    // 2: there is no agent (ssh-add(1)); its socket is there a moment before it listens.
    while (spawnSync('ssh-add', ['-l'], { env }).status === 2) await new Promise((resolve) => setTimeout(resolve, 10));
    // ssh-add takes the certificate along that lies beside its key.
    for (const name of ['plain', 'other', 'certified']) {
      execFileSync('ssh-add', ['-q', path(name)], { env, stdio: 'pipe' });
    }
  });

  afterAll(() => agent.kill());

  it('gives its keys; what it holds beyond them is named', async () => {
    const plan = await planKeys(credentials([], { agentSocket: socket }), ring());
    expect(plan.offers.map(({ text }) => text)).toEqual([
      containing('agent: ssh-ed25519'),
      containing('agent: ssh-ed25519'),
      containing('agent: ssh-ed25519'),
    ]);
    expect(plan.problems).toEqual([containing('ssh-ed25519-cert-v01@openssh.com')]);
  });

  it.each(['other', 'other.pub'])('gives with IdentitiesOnly the one key that the file %s names', async (named) => {
    const copy = path(`only-${named}`);
    writeFileSync(named.endsWith('.pub') ? copy : `${copy}.pub`, readFileSync(path('other.pub')));
    const only = { agentSocket: socket, identitiesOnly: true, explicit: false };
    const plan = await planKeys(credentials([`only-${named}`], only), ring());
    expect(plan.offers).toHaveLength(1);
    expect(plan.problems).toEqual([]);
  });

  it('that is not there is said, and nothing else fails', async () => {
    const plan = await planKeys(credentials(['plain'], { agentSocket: path('nowhere') }), ring());
    expect(plan.offers).toHaveLength(1);
    expect(plan.problems).toEqual([`the agent at ${path('nowhere')} does not answer`]);
  });
});

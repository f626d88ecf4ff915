import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { ConnectError, InterruptedError } from '../../src/errors.ts';
import { ConnectionPool } from '../../src/remote/pool.ts';
import type { RemoteSettings } from '../../src/remote/settings.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import { failure } from './remote-kit.ts';
import { makeFolder, makeKey, until } from './remote-sshd.ts';
import { byPassword, byQuestions, startSignInServer, type Policy, type SignInServer } from './sign-in-server.ts';

// The matchers, without their `any`.
const containing = (text: string): unknown => expect.stringContaining(text);

// How kubeos signs in by password and by questions, against a server that does just what each test says.

const { dir, remove } = makeFolder();
const knownHosts = join(dir, 'known_hosts');
writeFileSync(knownHosts, '');
makeKey(join(dir, 'key'));
const cleanUps: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

afterAll(() => remove());

async function server(policy: Policy): Promise<SignInServer> {
  const started = await startSignInServer(policy);
  appendFileSync(knownHosts, started.knownHost);
  cleanUps.push(() => started.close());
  return started;
}

const servers = (count: number, policy: () => Policy): Promise<SignInServer[]> =>
  Promise.all(Array.from({ length: count }, () => server(policy())));

function poolOf(nodes: readonly SignInServer[], change: Partial<RemoteSettings> = {}): ConnectionPool {
  const pool = new ConnectionPool(
    {
      sshUser: 'root',
      sshConfig: 'none',
      knownHosts: [knownHosts],
      acceptNewHostKeys: false,
      hosts: nodes.map(({ port }, index) => ({ name: nameOf(index), address: '127.0.0.1', port })),
      environment: { HOME: dir, PATH: process.env['PATH'] },
      ...change,
    },
    { now: () => Date.now(), sleep: (ms) => new Promise((resolve) => void setTimeout(resolve, Math.min(ms, 20))) },
    () => undefined,
  );
  cleanUps.push(() => pool.close());
  return pool;
}

const nameOf = (index: number): string => `worker-${String(index + 1)}`;
const node = (index = 0) => ({ name: nameOf(index), addresses: [] }) as unknown as ClusterNode;

/** Someone who is away: a question stands until it is withdrawn; after `most` of them an answer comes. */
function away(most: number, answer?: string) {
  const questions: string[] = [];
  const withdrawn: string[] = [];
  const ask = (question: string, { signal }: { signal?: AbortSignal | undefined }): Promise<string | undefined> => {
    questions.push(question);
    if (questions.length > most) return Promise.resolve(answer);
    return new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => {
        withdrawn.push(question);
        reject(signal.reason as Error);
      });
    });
  };
  return { ask, questions, withdrawn };
}

/** Someone at a terminal who gives these answers, one a question. */
function person(...answers: (string | undefined)[]) {
  const questions: string[] = [];
  const ask = (question: string, { hidden }: { hidden: boolean }): Promise<string | undefined> => {
    questions.push(`${hidden ? '' : '(shown) '}${question}`);
    return Promise.resolve(answers.shift());
  };
  return { ask, questions };
}

const config = (text: string): { sshConfig: string } => {
  const file = join(dir, `config-${String(Math.random()).slice(2)}`);
  writeFileSync(file, text);
  return { sshConfig: file };
};

describe('a password', () => {
  it('is asked for once, without an echo, however many nodes want it', async () => {
    const nodes = await servers(5, () => byPassword('sesame'));
    const { ask, questions } = person('sesame');
    const pool = poolOf(nodes, { ask });
    const all = await Promise.all(nodes.map((_, index) => pool.get(node(index))));
    expect(all.every(({ alive }) => alive)).toBe(true);
    expect(questions).toEqual([expect.stringMatching(/^Password of root on the nodes \(worker-\d asks for it\): $/)]);
  });

  it('is taken from KUBEOS_SSH_PASSWORD without a question', async () => {
    const [one] = await servers(1, () => byPassword('sesame'));
    const { ask, questions } = person();
    expect((await poolOf([one!], { ask, sshPassword: 'sesame' }).get(node())).alive).toBe(true);
    expect(questions).toEqual([]);
  });

  it('comes after the keys', async () => {
    const one = await server((context) => {
      if (context.method === 'password' && context.password === 'sesame') context.accept();
      else context.reject(['publickey', 'password']);
    });
    const pool = poolOf([one], { sshPassword: 'sesame', identities: [join(dir, 'key')] });
    await pool.get(node());
    expect(one.asked).toEqual(['root publickey', 'root password sesame']);
  });

  it('that was mistyped is asked for again, and said so, before any other node is tried', async () => {
    const nodes = await servers(4, () => byPassword('sesame'));
    const { ask, questions } = person('seesame', 'sesam', 'sesame');
    const pool = poolOf(nodes, { ask });
    await Promise.all(nodes.map((_, index) => pool.get(node(index))));
    expect(questions).toHaveLength(3);
    expect(questions[1]).toMatch(/^worker-\d refuses it, attempt 2 of 3\.\nPassword of root on the nodes/);
    expect(nodes.flatMap(({ asked }) => asked.filter((one) => /seesame|sesam$/.test(one)))).toHaveLength(2);
  });

  it('that is wrong is sent three times in all, never to the whole fleet', async () => {
    const nodes = await servers(6, () => byPassword('sesame'));
    const { ask, questions } = person('a', 'b', 'c', 'd');
    const pool = poolOf(nodes, { ask });
    const errors = await Promise.all(nodes.map((_, index) => failure(pool.get(node(index)))));
    expect(questions).toHaveLength(3);
    expect(nodes.flatMap(({ asked }) => asked.filter((one) => one.includes('password')))).toHaveLength(3);
    expect(errors.every((error) => error.failure === 'login-refused')).toBe(true);
    expect(errors.filter((error) => error.reason?.includes('password: it refuses the password'))).toHaveLength(1);
    expect(errors.filter((error) => error.reason?.includes('and more would lock accounts'))).toHaveLength(5);
    for (const error of errors) expect(JSON.stringify([error.message, error.reason, error.next])).not.toContain('"a"');
  });

  it('that is refused is what comes next to correct, with where it comes from, and a key as the other way', async () => {
    const one = await server((context) => context.reject(['publickey', 'password']));
    const error = await failure(poolOf([one], { sshPassword: 'wrong' }).get(node()));
    expect(error.next).toContain('KUBEOS_SSH_PASSWORD, or the prompt');
    expect(error.next).toContain("root's authorized_keys on the node");
    const [only] = await servers(1, () => byPassword('sesame'));
    const { next } = await failure(poolOf([only!]).get(node()));
    expect(next).toContain('KUBEOS_SSH_PASSWORD');
    // It takes none.
    expect(next).not.toContain('authorized_keys');
  });

  it('of the environment that is wrong is sent to three nodes, once to each, even if they are asked again', async () => {
    const nodes = await servers(6, () => byPassword('sesame'));
    const pool = poolOf(nodes, { sshPassword: 'wrong' });
    for (let round = 0; round < 3; round++) {
      await Promise.all(nodes.map((_, index) => failure(pool.get(node(index)))));
    }
    const sent = nodes.map(({ asked }) => asked.filter((one) => one.endsWith('wrong')).length);
    expect(sent.sort()).toEqual([0, 0, 0, 1, 1, 1]);
  });

  it('that one node refuses though others take it fails there alone', async () => {
    const nodes = [await server(byPassword('sesame')), await server(byPassword('another'))];
    const pool = poolOf(nodes, { sshPassword: 'sesame' });
    await pool.get(node(0));
    expect((await failure(pool.get(node(1)))).reason).toContain(
      'password: it refuses the password that worker-1 has taken',
    );
    await failure(pool.get(node(1)));
    expect(nodes[1]!.asked.filter((one) => one.endsWith('sesame'))).toHaveLength(1);
  });

  it('that nobody can be asked for is a failure that says what the server takes and how to give it', async () => {
    const [one] = await servers(1, () => byPassword('sesame'));
    const error = await failure(poolOf([one!]).get(node()));
    expect(error.reason).toContain('the server takes: password');
    expect(error.reason).toContain('set KUBEOS_SSH_PASSWORD');
  });

  it('that the user does not give is asked for no second time', async () => {
    const nodes = await servers(3, () => byPassword('sesame'));
    const { ask, questions } = person(undefined);
    const pool = poolOf(nodes, { ask });
    const errors = await Promise.all(nodes.map((_, index) => failure(pool.get(node(index)))));
    expect(questions).toHaveLength(1);
    expect(errors.every(({ reason }) => reason?.includes('no password was given') === true)).toBe(true);
  });

  it('whose question is broken off ends every sign-in that waits for it', async () => {
    const nodes = await servers(3, () => byPassword('sesame'));
    let asked = 0;
    const ask = (): Promise<string> => {
      asked += 1;
      return Promise.reject(new InterruptedError());
    };
    const pool = poolOf(nodes, { ask });
    const ends = await Promise.allSettled(nodes.map((_, index) => pool.get(node(index))));
    expect(asked).toBe(1);
    for (const end of ends)
      expect(end).toMatchObject({ status: 'rejected', reason: expect.any(InterruptedError) as unknown });
  });

  it('is waited for longer than a connection may take to be made', async () => {
    const [one] = await servers(1, () => byPassword('sesame'));
    let answer: (text: string) => void = () => undefined;
    const ask = (): Promise<string> => new Promise((resolve) => (answer = resolve));
    const connecting = poolOf([one!], { ask, readyTimeoutMs: 300 }).get(node());
    await new Promise((resolve) => setTimeout(resolve, 900));
    answer('sesame');
    expect((await connecting).alive).toBe(true);
  });

  it('that nobody has given when the server hangs up is asked for anew, for its next connection', async () => {
    const one = await server(byPassword('sesame'));
    const { ask, questions, withdrawn } = away(1, 'sesame');
    const connecting = poolOf([one], { ask }).get(node());
    await until(() => questions.length > 0);
    // What LoginGraceTime does.
    one.hangUp();
    expect((await connecting).alive).toBe(true);
    expect([withdrawn.length, questions.length, one.connections()]).toEqual([1, 2, 2]);
  });

  it('that nobody ever gives ends in words that say so, once the server has hung up on the question every time', async () => {
    const one = await server(byPassword('sesame'));
    const { ask, questions, withdrawn } = away(99);
    const hangingUp: typeof ask = (question, options) => {
      setImmediate(() => one.hangUp());
      return ask(question, options);
    };
    expect(await failure(poolOf([one], { ask: hangingUp }).get(node()))).toMatchObject({
      failure: 'unreachable',
      reason: containing('before its question was answered'),
      next: containing('LoginGraceTime'),
    });
    expect(withdrawn).toHaveLength(questions.length);
  });

  it('that waits behind the question of another node lets go of what is over, and is not asked for in its name', async () => {
    const nodes = await servers(2, () => byPassword('sesame'));
    const { ask, questions } = away(1, 'sesame');
    const pool = poolOf(nodes, { ask });
    const first = pool.get(node(0));
    await until(() => questions.length > 0);
    const over = new AbortController();
    const second = failure(pool.get(node(1), { asking: over.signal }));
    await until(() => nodes[1]!.asked.length > 0);
    over.abort(new ConnectError('nobody answered', 'login-refused'));
    expect((await second).message).toBe('nobody answered');
    expect(questions).toHaveLength(1);
    nodes[0]!.hangUp();
    expect((await first).alive).toBe(true);
  });

  it.each([
    ['of the node', (port: number) => config(`Host *\n  Port ${String(port)}\n`)],
    [
      'of a jump host',
      (port: number) =>
        config(`Host door\n HostName 127.0.0.1\n Port ${String(port)}\nHost worker-1\n ProxyJump door\n`),
    ],
  ])('%s is asked for no longer than may be asked', async (_what, configured) => {
    const one = await server(byPassword('sesame'));
    const { ask, questions } = away(99);
    const pool = poolOf([one], { ask, ...configured(one.port) });
    const over = new AbortController();
    const reason = new ConnectError('nobody answered', 'login-refused');
    const asked = failure(pool.get(node(), { asking: over.signal }));
    await until(() => questions.length > 0);
    over.abort(reason);
    expect(await asked).toMatchObject({ message: 'nobody answered', failure: 'login-refused' });
  });

  it.each([
    ['of the environment', 'hangs up', (): Partial<RemoteSettings> => ({ sshPassword: 'wrong' }), undefined],
    ['of the environment', 'says farewell', () => ({ sshPassword: 'wrong' }), 2],
    ['that is typed', 'hangs up', () => ({ ask: person('a', 'b', 'c', 'd').ask }), undefined],
  ])(
    '%s that a server %s on counts as refused: three in all, never twice to one node',
    async (_1, _2, given, reason) => {
      const hangingUp = async (): Promise<SignInServer> => {
        const one = await server((context) => {
          if (context.method === 'password') one.hangUp(reason);
          else context.reject(['password']);
        });
        return one;
      };
      const nodes = await Promise.all([1, 2, 3, 4, 5].map(hangingUp));
      const pool = poolOf(nodes, given());
      const errors = await Promise.all(nodes.map((_, index) => failure(pool.get(node(index)))));
      await Promise.all(nodes.map((_, index) => failure(pool.get(node(index)))));
      const sent = nodes.map(({ asked }) => asked.filter((text) => text.startsWith('root password')).length);
      expect(sent.sort()).toEqual([0, 0, 1, 1, 1]);
      expect(errors.every((error) => error.failure === 'login-refused')).toBe(true);
    },
  );

  it('that its node has taken before is not given up for one hang-up, and not sent again for it at once', async () => {
    let isGoingDown = false;
    const one = await server((context) => {
      if (context.method !== 'password') context.reject(['password']);
      else if (isGoingDown) one.hangUp();
      else context.accept();
    });
    const pool = poolOf([one], { sshPassword: 'sesame' });
    await pool.get(node());
    await pool.drop(nameOf(0));
    isGoingDown = true;
    expect((await failure(pool.get(node()))).failure).toBe('unreachable');
    expect(one.asked.filter((text) => text.endsWith('sesame'))).toHaveLength(2);
    isGoingDown = false;
    expect((await pool.get(node())).alive).toBe(true);
  });

  it('that has expired is told as that', async () => {
    const one = await server((context) => {
      if (context.method === 'password') context.requestChange('Choose a new one', () => undefined);
      else context.reject(['password']);
    });
    expect(await failure(poolOf([one], { sshPassword: 'sesame' }).get(node()))).toMatchObject({
      failure: 'login-refused',
      message: 'the password of root on worker-1 has expired',
      next: containing('choose a new one'),
    });
  });

  it('still comes in where a server has heard too many keys', async () => {
    for (const index of [1, 2, 3, 4, 5, 6]) makeKey(join(dir, `key-${String(index)}`));
    let keys = 0;
    const one = await server((context) => {
      if (context.method === 'publickey' && ++keys === 6) one.hangUp(2);
      else if (context.method === 'password' && context.password === 'sesame') context.accept();
      else context.reject(['publickey', 'password']);
    });
    const identities = [1, 2, 3, 4, 5, 6].map((index) => join(dir, `key-${String(index)}`));
    const pool = poolOf([one], { identities, sshPassword: 'sesame' });
    expect((await pool.get(node())).alive).toBe(true);
    expect(one.connections()).toBe(2);
  });
});

describe('a server that asks questions', () => {
  const PASSWORD = { prompts: [{ prompt: 'Password: ', echo: false }], answers: ['sesame'] };
  const CODE = { prompts: [{ prompt: 'Verification code: ', echo: false }], answers: ['123456'] };

  it('for the password alone gets it', async () => {
    const [one] = await servers(1, () => byQuestions(PASSWORD));
    expect((await poolOf([one!], { sshPassword: 'sesame' }).get(node())).alive).toBe(true);
  });

  it('and is told a wrong password is asked once more with another one', async () => {
    const [one] = await servers(1, () => byQuestions(PASSWORD));
    const { ask, questions } = person('wrong', 'sesame');
    expect((await poolOf([one!], { ask }).get(node())).alive).toBe(true);
    expect(questions).toHaveLength(2);
  });

  it('for a second factor has the user answer it, each node its own', async () => {
    const nodes = await servers(2, () => byQuestions(PASSWORD, { ...CODE, instructions: 'Second\u001b[31m factor' }));
    const { ask, questions } = person('123456', '123456');
    const pool = poolOf(nodes, { ask, sshPassword: 'sesame' });
    await pool.get(node(0));
    await pool.get(node(1));
    expect(questions).toEqual([
      'worker-1 says: A server\nworker-1 says: Second[31m factor\nworker-1 asks: Verification code: ',
      'worker-2 says: A server\nworker-2 says: Second[31m factor\nworker-2 asks: Verification code: ',
    ]);
  });

  it('and asks the same once more is told so to the user, since it gives no reason', async () => {
    const [one] = await servers(1, () => byQuestions(PASSWORD, { ...CODE, answers: ['000000'] }, CODE));
    const { ask, questions } = person('000000', '123456');
    expect((await poolOf([one!], { ask, sshPassword: 'sesame' }).get(node())).alive).toBe(true);
    expect(questions.map((question) => question.split('\n').at(-1))).toEqual([
      'worker-1 asks: Verification code: ',
      'worker-1 asks again: Verification code: ',
    ]);
  });

  it('for something that may be seen shows what is typed', async () => {
    const [one] = await servers(1, () =>
      byQuestions({ prompts: [{ prompt: 'Ticket number:', echo: true }], answers: ['7'] }, PASSWORD),
    );
    const { ask, questions } = person('7', 'sesame');
    expect((await poolOf([one!], { ask }).get(node())).alive).toBe(true);
    expect(questions[0]).toContain('(shown) ');
  });

  it('for a second factor where nobody is there is a failure that quotes the question', async () => {
    const [one] = await servers(1, () => byQuestions(PASSWORD, CODE));
    expect(await failure(poolOf([one!], { sshPassword: 'sesame' }).get(node()))).toMatchObject({
      failure: 'login-refused',
      message: 'worker-1 asks at sign-in what kubeos cannot answer',
      reason: 'it asks: Verification code:',
      next: containing('at a terminal'),
    });
  });

  it.each(['Verification code: ', "One-time password (OATH) for `root': ", 'New password: '])(
    'is never given the password for %s',
    async (prompt) => {
      const heard: string[] = [];
      const one = await server((context) => {
        if (context.method !== 'keyboard-interactive') context.reject(['keyboard-interactive']);
        else context.prompt([{ prompt, echo: false }], (answers) => void heard.push(...answers));
      });
      await failure(poolOf([one], { sshPassword: 'sesame' }).get(node()));
      expect(heard).toEqual([]);
    },
  );

  it('for the password again has refused it: that counts, and is not told as expired', async () => {
    const nodes = await servers(5, () => (context) => {
      if (context.method !== 'keyboard-interactive') context.reject(['keyboard-interactive']);
      else context.prompt(PASSWORD.prompts, () => context.prompt(PASSWORD.prompts, () => context.reject()));
    });
    const pool = poolOf(nodes, { sshPassword: 'wrong' });
    const errors = await Promise.all(nodes.map((_, index) => failure(pool.get(node(index)))));
    expect(errors.filter(({ message }) => message.endsWith('refuses the password'))).toHaveLength(3);
    expect(errors.filter(({ reason }) => reason?.includes('would lock accounts'))).toHaveLength(2);
  });

  it('for the password again, though another node has taken it, is not sent it anew', async () => {
    const good = await server(byQuestions(PASSWORD));
    const sent: string[] = [];
    const bad = await server((context) => {
      if (context.method !== 'keyboard-interactive') context.reject(['keyboard-interactive']);
      else
        context.prompt(PASSWORD.prompts, (answers) => {
          sent.push(...answers);
          context.prompt(PASSWORD.prompts, () => context.reject());
        });
    });
    const pool = poolOf([good, bad], { sshPassword: 'sesame' });
    await pool.get(node(0));
    expect((await failure(pool.get(node(1)))).message).toBe('worker-2 refuses the password');
    expect((await failure(pool.get(node(1)))).reason).toContain('not sent again: worker-2 refuses the password');
    expect(sent).toEqual(['sesame']);
  });

  it('for a code that nobody has given when it hangs up asks anew, and the password has not been refused', async () => {
    const one = await server(byQuestions(PASSWORD, CODE));
    const { ask, questions } = away(1, '123456');
    const connecting = poolOf([one], { ask, sshPassword: 'sesame' }).get(node());
    await until(() => questions.length > 0);
    one.hangUp();
    expect((await connecting).alive).toBe(true);
    expect(questions).toHaveLength(2);
  });

  it('for a new password says that the old one has expired, and chooses none', async () => {
    const [one] = await servers(1, () =>
      byQuestions(PASSWORD, { prompts: [{ prompt: 'New password: ', echo: false }], answers: ['never'] }),
    );
    const { ask, questions } = person();
    expect(await failure(poolOf([one!], { ask, sshPassword: 'sesame' }).get(node()))).toMatchObject({
      message: 'the password of root on worker-1 has expired',
    });
    expect(questions).toEqual([]);
  });

  it('after a key that it has taken is answered', async () => {
    const one = await server((context) => {
      if (context.method === 'publickey') {
        if (context.signature === undefined) context.accept();
        else context.reject(['keyboard-interactive'], true);
      } else byQuestions(PASSWORD)(context, []);
    });
    const pool = poolOf([one], { identities: [join(dir, 'key'), join(dir, 'key')], sshPassword: 'sesame' });
    expect((await pool.get(node())).alive).toBe(true);
  });
});

describe('what ssh_config says of signing in', () => {
  const both: Policy = (context) => {
    if (context.method === 'password' && context.password === 'sesame') context.accept();
    else context.reject(['keyboard-interactive', 'password']);
  };

  it('is followed in the order of the methods, and in those that are off', async () => {
    const [one, two] = [await server(both), await server(both)];
    await poolOf([one], { sshPassword: 'sesame', ...config('Host *\n KbdInteractiveAuthentication no\n') }).get(node());
    expect(one.asked).toEqual(['root none', 'root password sesame']);
    const never = config('Host *\n PasswordAuthentication no\n');
    expect((await failure(poolOf([two], { sshPassword: 'sesame', ...never }).get(node()))).failure).toBe(
      'login-refused',
    );
    expect(two.asked).toEqual(['root none', 'root keyboard-interactive']);
  });

  it('lets nobody be asked in BatchMode', async () => {
    const [one] = await servers(1, () => byPassword('sesame'));
    const { ask, questions } = person('sesame');
    await failure(poolOf([one!], { ask, ...config('Host *\n BatchMode yes\n') }).get(node()));
    expect(questions).toEqual([]);
  });

  it('lets the others of the same user be asked, whichever comes first', async () => {
    const nodes = await servers(2, () => byPassword('sesame'));
    const { ask } = person('sesame');
    const pool = poolOf(nodes, { ask, ...config('Host worker-1\n BatchMode yes\n') });
    expect((await failure(pool.get(node(0)))).reason).toContain('no password is at hand');
    expect((await pool.get(node(1))).alive).toBe(true);
    await failure(pool.get(node(0)));
    const other = person('sesame');
    const batchLast = poolOf(nodes, { ask: other.ask, ...config('Host worker-2\n BatchMode yes\n') });
    await batchLast.get(node(0));
    await failure(batchLast.get(node(1)));
  });

  it('limits the questions by NumberOfPasswordPrompts', async () => {
    const [one] = await servers(1, () => byPassword('sesame'));
    const { ask, questions } = person('a', 'b', 'c');
    await failure(poolOf([one!], { ask, ...config('Host *\n NumberOfPasswordPrompts 1\n') }).get(node()));
    expect(questions).toHaveLength(1);
  });
});

describe('a passphrase', () => {
  it('is asked for anew where the server has hung up before it was given', async () => {
    const locked = join(dir, 'locked');
    makeKey(locked, { passphrase: 'sesame' });
    const one = await server((context) => {
      if (context.method === 'publickey') context.accept();
      else context.reject(['publickey']);
    });
    const { ask, questions, withdrawn } = away(1, 'sesame');
    const pool = poolOf([one], { ask, ...config(`Host *\n  IdentityFile ${locked}\n`) });
    const connecting = pool.get(node());
    await until(() => questions.length > 0);
    one.hangUp();
    expect((await connecting).alive).toBe(true);
    expect([withdrawn, questions]).toEqual([questions.slice(0, 1), Array(2).fill(`Passphrase for ${locked}: `)]);
  });
});

describe('a jump host', () => {
  it('has a question of its own, and is never sent the nodes’ password', async () => {
    const jump = await server(byPassword('other'));
    const [one] = await servers(1, () => byPassword('sesame'));
    const text = `Host bastion\n HostName 127.0.0.1\n Port ${String(jump.port)}\n User alice\nHost worker-1\n ProxyJump bastion\n`;
    const { ask, questions } = person('wrong', undefined);
    const error = await failure(poolOf([one!], { ask, sshPassword: 'sesame', ...config(text) }).get(node()));
    expect(error.message).toContain('alice@127.0.0.1');
    expect(error.next).toContain('correct the password at its prompt');
    expect(error.next).not.toContain('KUBEOS_SSH_PASSWORD');
    expect(questions[0]).toBe(`Password of the jump host alice@127.0.0.1:${String(jump.port)}: `);
    expect(jump.asked.join()).not.toContain('sesame');
    expect((await failure(poolOf([one!], { sshPassword: 'sesame', ...config(text) }).get(node()))).reason).toContain(
      'KUBEOS_SSH_PASSWORD is for nodes',
    );
  });
});

describe('a jump host that lets nobody through', () => {
  it('without a word of why is told without one', async () => {
    const jump = await server((context) => context.accept());
    const text = `Host door\n HostName 127.0.0.1\n Port ${String(jump.port)}\nHost worker-1\n ProxyJump door\n`;
    const pool = poolOf([jump], { identities: [join(dir, 'key')], ...config(text) });
    expect(await failure(pool.get(node()))).toMatchObject({
      failure: 'protocol',
      reason: 'its server forbids it',
      next: containing('AllowTcpForwarding'),
    });
  });
});

describe('a way in that kubeos does not have', () => {
  it('is named: Kerberos', async () => {
    const one = await server((context) => context.reject(['gssapi-with-mic' as never]));
    expect(await failure(poolOf([one], { identities: [join(dir, 'key')] }).get(node()))).toMatchObject({
      failure: 'login-refused',
      reason: containing('gssapi-with-mic (Kerberos, which kubeos cannot do)'),
      next: containing('PubkeyAuthentication'),
    });
  });
});

import { createServer, type AddressInfo, type Socket } from 'node:net';
import ssh2, { type AuthContext } from 'ssh2';
import { makeKeyPair } from '../../src/lab/ssh-server.ts';

/** One server's way to let someone in; `asked` is what it was offered so far, newest last. */
export type Policy = (context: AuthContext, asked: readonly string[]) => void;

/** An SSH server that does nothing but let in, or not, as its policy says. */
export interface SignInServer {
  port: number;
  /** `user method`, and the password where there was one. */
  asked: string[];
  knownHost: string;
  connections: () => number;
  /** Ends every connection; with a reason (RFC 4253, 11.1) it says so first. */
  hangUp: (reason?: number) => void;
  close: () => Promise<void>;
}

export async function startSignInServer(policy: Policy): Promise<SignInServer> {
  const host = makeKeyPair('sign-in');
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const clients = new Set<ssh2.Connection>();
  const ssh = new ssh2.Server({ hostKeys: [host.privateKey], ident: 'OpenSSH_9.2 sign-in' }, (client) => {
    clients.add(client);
    client.on('error', () => undefined);
    client.on('authentication', (context) => {
      if (context.method !== 'none' && context.method !== 'publickey') {
        asked.push(
          `${context.username} ${context.method}${context.method === 'password' ? ` ${context.password}` : ''}`,
        );
      } else asked.push(`${context.username} ${context.method}`);
      policy(context, asked);
    });
  });
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    ssh.injectSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const [type = '', key = ''] = host.publicLine.split(' ');
  return {
    port,
    asked,
    knownHost: `[127.0.0.1]:${String(port)} ${type} ${key}\n`,
    connections: () => connections,
    hangUp: (reason) => {
      for (const client of clients) if (reason !== undefined) disconnect(client, reason);
      if (reason === undefined) for (const socket of sockets) socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** Lets in whoever has the password, by the method `password` alone. */
export const byPassword =
  (password: string): Policy =>
  (context) => {
    if (context.method === 'password' && context.password === password) context.accept();
    else context.reject(['password']);
  };

/** Questions of a keyboard-interactive sign-in, and the answers that it wants. */
export interface Round {
  prompts: readonly { prompt: string; echo: boolean }[];
  answers: readonly string[];
  instructions?: string;
}

/** Asks round after round; the first wrong answer ends it. */
export const byQuestions =
  (...rounds: readonly Round[]): Policy =>
  (context) => {
    if (context.method !== 'keyboard-interactive') {
      context.reject(['keyboard-interactive']);
      return;
    }
    const ask = (index: number): void => {
      const round = rounds[index];
      if (round === undefined) {
        context.accept();
        return;
      }
      context.prompt([...round.prompts], 'A server', round.instructions ?? '', (answers) => {
        if (answers.join('\n') === round.answers.join('\n')) ask(index + 1);
        else context.reject(['keyboard-interactive']);
      });
    };
    ask(0);
  };

// ssh2's server says no farewell of its own choice; its protocol can.
function disconnect(client: ssh2.Connection, reason: number): void {
  (client as unknown as { _protocol: { disconnect(reason: number): void } })._protocol.disconnect(reason);
  client.end();
}

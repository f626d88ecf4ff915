import type { AnyAuthMethod, AuthHandlerMiddleware, NextAuthHandler, Prompt } from 'ssh2';
import { ConnectError } from '../errors.ts';
import { fileOffer, type Credentials, type KeyOffer, type KeyPlan } from './auth.ts';
import type { KeyRing } from './keys.ts';
import { isPasswordQuestion, shortPrompt, shownQuestion, wantedBy, type Questions } from './questions.ts';
import type { Ask } from './settings.ts';
import type { SharedPassword, Verdict } from './shared-password.ts';
import type { SignInMethod } from './sign-in-rules.ts';
import { anySignal, untilAborted } from './until-aborted.ts';

/** What a sign-in needs beside its keys. */
export interface SignInTools {
  /** The node's name, or the jump host's, as questions and failures say it. */
  host: string;
  credentials: Credentials;
  ring: KeyRing;
  password: SharedPassword;
  /** Asks the user what only a person can answer; missing where nobody is there. */
  ask: Ask | undefined;
  /** Aborted once nobody may be asked any more; its reason is then why the sign-in failed. */
  asking?: AbortSignal | undefined;
}

/** What the connection does for its sign-in. */
export interface SignInHooks {
  /** While a person is asked, time does not count. */
  pause(): void;
  resume(): void;
  /** Nothing is left to offer. */
  refused(): void;
  /** Ends the connection for a reason of the sign-in's own. */
  fail(error: Error): void;
}

/** The server's word on one method. `over`: the connection has ended. */
type Answer = { kind: 'accepted' } | { kind: 'refused'; partial: boolean } | { kind: 'over' };
/** In a keyboard-interactive sign-in it may ask first. */
type Turn = Answer | { kind: 'asks'; questions: Questions; answer: (answers: string[]) => void };

/**
 * One sign-in, method by method: keys first, then what the server still takes. Written as one way from top to bottom,
 * though ssh2 asks for each method by a callback.
 */
export class SignIn {
  /** What was offered and refused, and what could not be, for the failure's report. */
  readonly offered: string[] = [];
  readonly problems = new Set<string>();
  /** What the server would still take, in its own words; undefined as long as it has not said. */
  methodsLeft: readonly string[] | undefined;
  /** The server has ended the connection while keys were offered to it, before it was asked for anything else. */
  cutShort = false;
  /** A password has been sent, and no answer to it has come. */
  passwordOut = false;
  /** The server has refused a password, or it would not help to send it. */
  passwordRefused = false;
  /** An answer of a person is waited for. */
  waitsForAnswer = false;
  readonly #tools: SignInTools;
  readonly #keys: KeyPlan;
  readonly #tried = new Set<SignInMethod>();
  /** A server that asks the same once more was not content with the answer, and often does not say so. */
  readonly #asked = new Set<string>();
  readonly #gone = new AbortController();
  /** Withdraws questions: the connection that they are asked for has ended, or nobody may be asked any more. */
  readonly #patience: AbortSignal;
  #hooks: SignInHooks | undefined;
  #next: NextAuthHandler | undefined;
  #settle: ((turn: Turn) => void) | undefined;
  #end: { kind: 'accepted' | 'over' } | undefined;
  #way: Promise<void> | undefined;

  constructor(keys: KeyPlan, tools: SignInTools) {
    this.#keys = keys;
    this.#tools = tools;
    this.#patience = anySignal(this.#gone.signal, tools.asking);
    for (const problem of keys.problems) this.problems.add(problem);
  }

  get host(): string {
    return this.#tools.host;
  }

  /** The host has taken the password in this run before: one that hangs up on it has another reason. */
  get passwordKnown(): boolean {
    return this.#tools.password.isTakenBy(this.host);
  }

  /** What ssh2 calls for each next method. */
  handler(hooks: SignInHooks): AuthHandlerMiddleware {
    this.#hooks = hooks;
    return (left: unknown, partial, next) => {
      this.#next = next;
      if (Array.isArray(left)) this.methodsLeft = left.map(String);
      if (this.#way === undefined) this.#way = this.#goThrough().catch((error: unknown) => hooks.fail(error as Error));
      else this.#settle?.({ kind: 'refused', partial });
    };
  }

  /** The connection has signed in, or is over. */
  end(how: 'accepted' | 'over'): void {
    const end = (this.#end ??= { kind: how });
    if (how === 'over') this.#gone.abort(new ConnectError(`the connection to ${this.host} has ended`, 'lost'));
    this.#settle?.(end);
  }

  /** Resolves once nothing of it waits for a person any more. */
  async over(): Promise<void> {
    await this.#way;
  }

  async #goThrough(): Promise<void> {
    const { methods } = this.#tools.credentials.rules;
    for (;;) {
      const method = methods.find((one) => !this.#tried.has(one) && (this.methodsLeft?.includes(one) ?? true));
      if (method === undefined) break;
      if (this.methodsLeft === undefined && (method !== 'publickey' || !this.#hasKeys)) {
        // Only a method that is refused brings the list of the others (RFC 4252, 5.2).
        await this.#offer({ type: 'none', username: this.#tools.credentials.user });
        this.methodsLeft ??= [];
      } else {
        this.#tried.add(method);
        await this.#try(method);
      }
      if (this.#end !== undefined) return;
    }
    this.#hooks?.refused();
    // The types know no `false`, which is how ssh2 is told that nothing is left.
    (this.#next as unknown as (method: false) => void)(false);
  }

  get #hasKeys(): boolean {
    return this.#keys.offers.length + this.#keys.locked.length > 0;
  }

  async #try(method: SignInMethod): Promise<void> {
    if (method === 'publickey') await this.#offerKeys();
    else if (method === 'password') await this.#offerPassword();
    else await this.#converse();
  }

  async #offerKeys(): Promise<void> {
    for (const offer of this.#keys.offers) if (await this.#offerKey(offer)) return;
    for (const file of this.#keys.locked) {
      const opened = await this.#paused(() => this.#tools.ring.unlock(file, this.#patience));
      if (opened.kind === 'unusable') this.problems.add(`${opened.path}: ${opened.why}`);
      if (opened.kind === 'ready' && (await this.#offerKey(fileOffer(this.#tools.credentials.user, opened)))) return;
    }
  }

  /** Resolves to true where no further key is worth a try. */
  async #offerKey({ method, text, keyType, agentKey }: KeyOffer): Promise<boolean> {
    if (this.#end !== undefined) return true;
    this.offered.push(text);
    const answer = await this.#offer(method);
    this.cutShort = answer.kind === 'over';
    if (answer.kind !== 'refused') return true;
    // No server says which signatures it would have taken (its server-sig-algs are those that it knows).
    if (keyType === 'ssh-rsa') this.problems.add(NO_SHA1);
    // A server that had a key sign knows it: if it still wants more, that is another method. ssh2 keeps it from us.
    if (agentKey?.signed === true) this.methodsLeft = undefined;
    return answer.partial || agentKey?.signed === true || this.methodsLeft?.includes('publickey') === false;
  }

  async #offerPassword(): Promise<void> {
    const { user } = this.#tools.credentials;
    await this.#withPassword(async (password) => {
      if (this.#end !== undefined) return 'unknown';
      this.passwordOut = true;
      return this.#verdictOf(await this.#offer({ type: 'password', username: user, password }));
    });
  }

  // The password may be wanted in the middle, or not at all; after a wrong one the conversation begins anew.
  async #converse(): Promise<void> {
    let turn = await this.#untilPassword(await this.#begin());
    if (turn.kind !== 'asks') return;
    await this.#withPassword(async (password) => {
      if (turn.kind !== 'asks') turn = await this.#untilPassword(await this.#begin());
      if (turn.kind !== 'asks' || this.#end !== undefined) return this.#verdictOf(this.#end ?? turn);
      this.passwordOut = true;
      return this.#verdictOf(
        await this.#afterPassword(await this.#reply(turn, [password])).then((end) => (turn = end)),
      );
    });
  }

  /** Of a password: one that was sent and got no answer but the end counts as refused, as some servers refuse it so. */
  #verdictOf(answer: Turn): Verdict {
    if (answer.kind !== 'accepted' && answer.kind !== 'refused') return this.passwordOut ? 'ended' : 'unknown';
    this.passwordOut = false;
    return answer.kind === 'accepted' || answer.partial ? 'accepted' : 'refused';
  }

  async #withPassword(attempt: (password: string) => Promise<Verdict>): Promise<void> {
    const { host, credentials, password } = this.#tools;
    const { batch, passwordPrompts } = credentials.rules;
    const missing = password.missing(batch);
    if (missing !== undefined) {
      this.problems.add(missing);
      return;
    }
    this.#wait(true);
    try {
      const trial = { most: passwordPrompts, signal: this.#patience };
      const why = await password.tryOn(host, trial, async (text) => {
        this.#wait(false);
        try {
          return await attempt(text);
        } finally {
          this.#wait(true);
        }
      });
      if (why === undefined) return;
      this.passwordRefused = true;
      this.problems.add(`password: ${why}`);
    } finally {
      this.#wait(false);
    }
  }

  /** Answers what comes before the password. */
  async #untilPassword(first: Turn): Promise<Turn> {
    let turn = first;
    while (turn.kind === 'asks' && !isPasswordQuestion(turn.questions)) {
      turn = await this.#answer(turn);
    }
    return turn;
  }

  /** Answers what comes after it: a second password is a new one, which this is not the place to choose. */
  async #afterPassword(first: Turn): Promise<Answer> {
    let turn = first;
    while (turn.kind === 'asks') {
      const wanted = turn.questions.prompts.map(wantedBy);
      if (wanted.includes('new password')) throw this.#expired();
      if (wanted.includes('password')) throw this.#askedAgain();
      turn = await this.#answer(turn);
    }
    return turn;
  }

  async #answer(turn: Turn & { kind: 'asks' }): Promise<Turn> {
    const { passwordOut } = this;
    // Who asks for more has not refused it so far.
    this.passwordOut = false;
    const answers = await this.#askUser(turn.questions).catch((error: unknown) => {
      if (this.#end === undefined) throw error;
      return [];
    });
    if (this.#end !== undefined) return this.#end;
    this.passwordOut = passwordOut;
    return this.#reply(turn, answers);
  }

  async #askUser(questions: Questions): Promise<string[]> {
    const { host, ask, credentials } = this.#tools;
    const answers: string[] = [];
    for (const { prompt, echo } of questions.prompts) {
      if (ask === undefined || credentials.rules.batch) throw this.#unanswered(prompt);
      const question = shownQuestion(
        host,
        answers.length > 0 ? { ...questions, name: '', instructions: '' } : questions,
        prompt,
        this.#asked.has(prompt),
      );
      this.#asked.add(prompt);
      const answer = await this.#paused(() => ask(question, { hidden: echo !== true, signal: this.#patience }));
      if (answer === undefined) throw this.#unanswered(prompt);
      answers.push(answer);
    }
    return answers;
  }

  async #paused<T>(work: () => Promise<T>): Promise<T> {
    this.#wait(true);
    try {
      return await untilAborted(work(), this.#patience);
    } finally {
      this.#wait(false);
    }
  }

  #wait(waits: boolean): void {
    this.waitsForAnswer = waits;
    if (waits) this.#hooks?.pause();
    else this.#hooks?.resume();
  }

  async #offer(method: AnyAuthMethod): Promise<Answer> {
    const turn = await this.#await(() => this.#next?.(method));
    // Only a conversation asks.
    return turn.kind === 'asks' ? { kind: 'over' } : turn;
  }

  #begin(): Promise<Turn> {
    const prompt = (
      name: string,
      instructions: string,
      _lang: string,
      prompts: Prompt[],
      answer: (all: string[]) => void,
    ) => this.#settle?.({ kind: 'asks', questions: { name, instructions, prompts }, answer });
    return this.#await(() =>
      this.#next?.({ type: 'keyboard-interactive', username: this.#tools.credentials.user, prompt }),
    );
  }

  #reply(turn: Turn & { kind: 'asks' }, answers: string[]): Promise<Turn> {
    return this.#await(() => turn.answer(answers));
  }

  #await(send: () => void): Promise<Turn> {
    if (this.#end !== undefined) return Promise.resolve(this.#end);
    return new Promise((resolve) => {
      this.#settle = resolve;
      send();
    });
  }

  #unanswered(prompt: string): ConnectError {
    return new ConnectError(`${this.host} asks at sign-in what kubeos cannot answer`, 'login-refused', {
      reason: `it asks: ${shortPrompt(prompt)}`,
      next: `run kubeos at a terminal and answer it there, or sign in by a key that needs no second factor`,
    });
  }

  #askedAgain(): ConnectError {
    return new ConnectError(`${this.host} refuses the password`, 'login-refused', {
      reason: 'it asks for the password a second time',
      next: 'correct the password (KUBEOS_SSH_PASSWORD, or the prompt), or sign in by a key',
    });
  }

  #expired(): ConnectError {
    return expiredPassword(this.host, this.#tools.credentials.user);
  }
}

const NO_SHA1 =
  'RSA keys sign with SHA-2 here: a server that takes SHA-1 alone (PubkeyAcceptedAlgorithms ssh-rsa) refuses them';

/** The password is right, but the server wants a new one before anything else. */
export function expiredPassword(host: string, user: string): ConnectError {
  return new ConnectError(`the password of ${user} on ${host} has expired`, 'login-refused', {
    reason: 'the server wants a new one before it lets anyone in',
    next: `sign in by hand and choose a new one, then give the same command again`,
  });
}

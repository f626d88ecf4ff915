import type { Prompt } from 'ssh2';
import { cleanText } from './clean-text.ts';

/** What the server of a keyboard-interactive sign-in wants to know (RFC 4256, 3.2). */
export interface Questions {
  name: string;
  instructions: string;
  prompts: readonly Prompt[];
}

/**
 * What a question wants. The protocol has no field for it, so that its words must tell, as they do a person: servers
 * ask in the words of their PAM modules (`Password: `, `Verification code: `, `New password: `).
 */
export type Wanted = 'password' | 'new password' | 'something else';

export function wantedBy({ prompt, echo }: Prompt): Wanted {
  if (echo === true || !/passwor[dt]/i.test(prompt) || /one.?time|otp|oath|token|code/i.test(prompt)) {
    return 'something else';
  }
  return /\b(new|retype|again|current|old|confirm|change)\b/i.test(prompt) ? 'new password' : 'password';
}

/** True for the one question that a known password may answer. */
export function isPasswordQuestion({ prompts }: Questions): boolean {
  const [only, ...others] = prompts;
  return only !== undefined && others.length === 0 && wantedBy(only) === 'password';
}

/** A question as it is shown: what the server says of it first, made safe for a terminal. */
export function shownQuestion(host: string, { name, instructions }: Questions, prompt: string, again: boolean): string {
  const before = [name, instructions].map((text) => cleanText(text).trim()).filter((text) => text !== '');
  return [
    ...before.map((text) => `${host} says: ${text.slice(0, 500)}\n`),
    `${host} asks${again ? ' again' : ''}: ${shortPrompt(prompt)} `,
  ].join('');
}

export function shortPrompt(prompt: string): string {
  return cleanText(prompt).replaceAll(/\s+/g, ' ').trim().slice(0, 200);
}

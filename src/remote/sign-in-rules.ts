/** A method of RFC 4252 that kubeos signs in by. */
export type SignInMethod = 'publickey' | 'keyboard-interactive' | 'password';

/** What ssh_config says of how to sign in to a host. */
export interface SignInRules {
  /** In the order in which they are tried. */
  methods: readonly SignInMethod[];
  /** NumberOfPasswordPrompts. */
  passwordPrompts: number;
  /** BatchMode: nobody may be asked anything. */
  batch: boolean;
  /** CertificateFile: OpenSSH certificates, which kubeos cannot use. */
  certificateFiles: readonly string[];
}

/** OpenSSH's own order, without what ssh2 cannot do (ssh_config(5), PreferredAuthentications). */
const METHODS: readonly SignInMethod[] = ['publickey', 'keyboard-interactive', 'password'];

export const DEFAULT_RULES: SignInRules = { methods: METHODS, passwordPrompts: 3, batch: false, certificateFiles: [] };

const SWITCHES: Readonly<Record<SignInMethod, string>> = {
  publickey: 'pubkeyauthentication',
  'keyboard-interactive': 'kbdinteractiveauthentication',
  password: 'passwordauthentication',
};

/**
 * Reads them from settings as `ssh -G` prints them.
 * @param values lower-case keyword -> its values, in order
 * @param path makes a path of a value: its tokens and its home expanded
 */
export function readSignInRules(
  values: ReadonlyMap<string, readonly string[]>,
  path: (text: string) => string,
): SignInRules {
  const first = (key: string): string | undefined => values.get(key)?.[0];
  const preferred = first('preferredauthentications')?.split(',') ?? METHODS;
  const isOff = (method: SignInMethod): boolean => ['no', 'false'].includes(first(SWITCHES[method]) ?? '');
  const prompts = Number(first('numberofpasswordprompts') ?? NaN);
  return {
    methods: preferred.flatMap((name) => METHODS.filter((method) => method === name.trim() && !isOff(method))),
    passwordPrompts: Number.isInteger(prompts) && prompts > 0 ? prompts : DEFAULT_RULES.passwordPrompts,
    batch: ['yes', 'true'].includes(first('batchmode') ?? ''),
    certificateFiles: (values.get('certificatefile') ?? []).filter((file) => file !== 'none').map(path),
  };
}

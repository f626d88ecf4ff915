/** The verbs of kubectl that messages tell to use. */
export const KUBECTL_VERBS = 'annotate|create|delete|describe|edit|get|label|uncordon';

const KUBECTL = new RegExp(String.raw`(?<![\w./-])kubectl (?=(?:-n [^ ]+ )?(?:${KUBECTL_VERBS}) )`, 'g');

/** Those that go to a cluster; one that says already which is left as it is. */
const KUBEOS =
  /(?<![\w./-])kubeos (?:plan|upgrade|rollback|status|logs|lock (?:status|release))(?![\w-])(?![^\n]*--(?:kubeconfig|context)[ =])/g;

/**
 * The text with its commands led to the cluster that kubeos itself was led to: typed as they are shown, they would reach
 * whatever the shell's own kubeconfig names.
 * @param flags the words that lead there, `--kubeconfig=lab/kubeconfig`, as a shell needs them; undefined for none
 */
export function ledTo(flags: string | undefined, text: string): string {
  if (flags === undefined) return text;
  return text.replace(KUBECTL, (start) => `${start}${flags} `).replace(KUBEOS, (start) => `${start} ${flags}`);
}

/** The fields of data for programs whose text tells people what to do. */
const ADVICE: ReadonlySet<string> = new Set(['next', 'remedy']);

/** The same for all advice within data. */
export const adviceLedTo =
  (flags: string | undefined) =>
  (key: string, value: unknown): unknown =>
    ADVICE.has(key) && typeof value === 'string' ? ledTo(flags, value) : value;

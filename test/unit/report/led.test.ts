import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { shownBy } from '../../../src/commands/given-command.ts';
import { KubeosError } from '../../../src/errors.ts';
import { formatData } from '../../../src/report/data.ts';
import { renderError } from '../../../src/report/error-screen.ts';
import { field, fields } from '../../../src/report/layout.ts';
import { ledTo } from '../../../src/report/led.ts';
import { penFor } from '../../../src/report/pen.ts';
import { DISPLAY } from './fixtures.ts';

const FLAGS = '--kubeconfig=lab/kubeconfig --context=lab';
const shown = { ...DISPLAY, ...shownBy({ kubeconfig: 'lab/kubeconfig', context: 'lab' }) };

describe('a command that is told, where --kubeconfig or --context was given', () => {
  it.each([
    ['once it is well, kubectl uncordon w-1', `once it is well, kubectl ${FLAGS} uncordon w-1`],
    ['kubectl -n shop get poddisruptionbudget web', `kubectl ${FLAGS} -n shop get poddisruptionbudget web`],
    ['(all of it: kubeos logs w-1)', `(all of it: kubeos logs ${FLAGS} w-1)`],
    ['look at it: kubeos status; then again', `look at it: kubeos status ${FLAGS}; then again`],
    ['free it:\nkubeos lock release', `free it:\nkubeos lock release ${FLAGS}`],
  ])('leads to the same cluster: %s', (text, expected) => {
    expect(ledTo(shown.toCluster, text)).toBe(expected);
    expect(ledTo(undefined, text)).toBe(text);
  });

  it.each([
    'kubectl --kubeconfig=a get --raw=/readyz',
    'kubeos lock release --kubeconfig=a',
    'kubeos validate -f upgrade.yaml',
    'install a newer kubectl, or name one: --kubectl PATH',
    'write it as for kubectl -l, for example: zone=a',
  ])('is left alone where it leads there already, or to no cluster: %s', (text) => {
    expect(ledTo(FLAGS, text)).toBe(text);
  });

  it('is quoted for a shell, and not broken', () => {
    const { toCluster } = shownBy({ kubeconfig: 'my lab/kubeconfig' });
    const lines = fields(
      [field('next', 'give it again, or kubectl uncordon worker-2')],
      4,
      penFor({ ...DISPLAY, toCluster: toCluster! }),
    );
    expect(lines.slice(-1)).toEqual(["          kubectl '--kubeconfig=my lab/kubeconfig' uncordon worker-2"]);
  });

  it('is so in an error, its log and in data for programs', async () => {
    const error = new KubeosError('no', 3, { node: 'w-1', next: 'kubectl uncordon w-1', logTail: ['kubectl get it'] });
    const lines = renderError(error, shown, '1.0.0').join('\n');
    expect(lines).toContain(`next  kubectl ${FLAGS} uncordon w-1`);
    expect(lines).toContain(`kubectl get it\n          (all of it: kubeos logs ${FLAGS} w-1)`);
    const data = { what: 'kubeos status', nodes: [{ next: 'kubeos status', bootEnv: { next: 'A' } }] };
    const expected = { what: 'kubeos status', nodes: [{ next: `kubeos status ${FLAGS}`, bootEnv: { next: 'A' } }] };
    expect(JSON.parse(await formatData(data, 'json', FLAGS))).toEqual(expected);
    expect(parse(await formatData(data, 'yaml', FLAGS))).toEqual(expected);
  });
});

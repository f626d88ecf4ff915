import { show, type Findings } from './findings.ts';
import type { SpecView } from './shape.ts';
import type { NodeSelector } from './spec.ts';

const PREFIX = 'KubeOS ';
const LONGEST_VERSION = 128;

/** What every spec has: osversion, and the fields of newer KubeOS versions. */
export function judgeCommon(view: SpecView, findings: Findings): void {
  judgeVersion(view, findings);
  judgeSelector(view, findings);
  judgeSchedule(view, findings);
  judgeSettings(view, findings);
}

function judgeVersion(view: SpecView, findings: Findings): void {
  const { osversion } = view.values;
  if (osversion === undefined) return;
  const at = view.at('osversion');
  const problem = versionProblem(osversion);
  if (problem !== undefined) {
    const mend = 'write it as kubectl get nodes -o wide shows it, for example: osversion: KubeOS 2.0.0';
    findings.error('osversion', at, `osversion ${problem}`, mend);
  } else if (!osversion.startsWith(PREFIX)) {
    const message = 'osversion does not begin with "KubeOS ", but must equal what the nodes report';
    const mend = `if the nodes report it so: osversion: ${PREFIX}${osversion.replace(/^kubeos[ -]*/i, '')}`;
    findings.warning('osversion-prefix', at, message, mend);
  }
}

/** The version is compared with the nodes' osImage byte for byte, so what no one can see in it matters. */
function versionProblem(version: string): string | undefined {
  if (version === '') return 'is empty';
  if (version.length > LONGEST_VERSION) return `is longer than ${LONGEST_VERSION} characters`;
  const invisible = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.exec(version)?.[0];
  if (invisible !== undefined) {
    const code = (invisible.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    return `holds a character that cannot be seen (U+${code})`;
  }
  if (version.trim() !== version) return 'has spaces around it, so no node will ever report it';
  return /\d/.test(version) ? undefined : `must hold a version number, not ${show(version)}`;
}

/** Kubernetes' rule for a label's value, which upstream compares this with. */
const LABEL_VALUE = /^(?:[a-z0-9](?:[\w.-]{0,61}[a-z0-9])?)?$/i;

/** The nodes that upstream's nodeselector means; missing: `no-label`, its default since KubeOS 1.0.7. */
export function nodeSelectorOf(view: SpecView): NodeSelector {
  const value = view.values.nodeselector ?? 'no-label';
  if (value === 'no-label') return { kind: 'no-label' };
  return value === 'all-label' ? { kind: 'all' } : { kind: 'value', value };
}

function judgeSelector(view: SpecView, findings: Findings): void {
  const value = view.values.nodeselector;
  if (value === undefined || value === null) return;
  if (value === '') {
    const message = 'nodeselector: "" means only nodes whose label upgrade.openeuler.org/node-selector is empty';
    findings.note('nodeselector', view.whole('nodeselector'), message);
  } else if (value.length > 63 || !LABEL_VALUE.test(value)) {
    const message = 'nodeselector is the value of the label upgrade.openeuler.org/node-selector, and this is none';
    const mend =
      'write no-label, all-label or such a value; other labels are selected on the command line: -l key=value';
    findings.error('nodeselector', view.at('nodeselector'), message, mend);
  }
}

/** When and in what order upstream would start; refused rather than ignored, since the user relies on it. */
function judgeSchedule(view: SpecView, findings: Findings): void {
  const timewindow = view.entry('timewindow');
  if (timewindow !== undefined && timewindow.value !== null) {
    const mend = 'remove it, and start kubeos inside the window, from cron or a scheduled pipeline';
    findings.error('timewindow', timewindow.key, 'timewindow is not supported yet', mend);
  }
  if (view.values.executionmode === 'serial') {
    const mend = 'remove it, and write: maxunavailable: 1';
    findings.error('executionmode', view.whole('executionmode'), 'executionmode serial is not supported yet', mend);
  }
  if (typeof view.entry('timeinterval')?.value === 'number') {
    const message = 'timeinterval is ignored: kubeos watches the nodes and does not ask at intervals';
    findings.note('timeinterval', view.whole('timeinterval'), message);
  }
}

function judgeSettings(view: SpecView, findings: Findings): void {
  for (const field of ['sysconfigs', 'upgradeconfigs'] as const) {
    const entry = view.entry(field);
    if (entry === undefined || entry.value === null) continue;
    const message = `${field} changes settings of nodes, which kubeos does not do`;
    const mend = 'remove it, and apply the settings by the KubeOS operator, with opstype: config';
    findings.error('settings', entry.key, message, mend);
  }
}

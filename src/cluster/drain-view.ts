import type { Clock, DrainForecast, DrainOptions, DrainProgress } from '../rollout/ports.ts';
import type { Api } from './api.ts';
import { budgetsOf, forecastDrain, isDrained, ownerKey, podKey, refusals } from './forecast.ts';
import { shortTime } from './short-time.ts';
import {
  findDaemonSets,
  listBudgets,
  listPods,
  type Budget,
  type Patience,
  type Pod,
  type PolicyVersion,
} from './workloads.ts';

/** What the cluster says about one node's drain; kubectl's own words are not read. */
export class DrainView {
  private readonly api: Api;
  private readonly clock: Clock;
  private readonly policy: PolicyVersion;
  private readonly node: string;
  private readonly options: DrainOptions;
  /** Pods seen so far, and since when each is being deleted on our clock. */
  private readonly seen = new Set<string>();
  private readonly deletingSince = new Map<string, number>();
  private readonly asked = new Set<string>();
  private readonly daemonSets = new Set<string>();
  private left: readonly Pod[] = [];
  private budgets: readonly Budget[] = [];
  progress: DrainProgress = { podsLeft: 0, podsAtStart: 0 };

  constructor(api: Api, clock: Clock, policy: PolicyVersion, node: string, options: DrainOptions) {
    this.api = api;
    this.clock = clock;
    this.policy = policy;
    this.node = node;
    this.options = options;
  }

  /** How many of the pods seen so far are gone. */
  get gone(): number {
    return this.seen.size - this.left.length;
  }

  /** Reads pods and budgets anew. */
  async look(patience: Patience): Promise<DrainProgress> {
    const selector = this.options.podSelector;
    const [pods, budgets] = await Promise.all([
      listPods(this.api, { node: this.node, ...(selector === undefined ? {} : { podSelector: selector }) }, patience),
      this.options.disableEviction ? [] : listBudgets(this.api, this.policy, this.clock.now(), patience),
    ]);
    await this.learnDaemonSets(pods, patience);
    this.budgets = budgets;
    this.left = pods.filter((pod) => isDrained(pod, this.daemonSets));
    for (const pod of this.left) {
      this.seen.add(pod.uid);
      if (pod.deleting && !this.deletingSince.has(pod.uid)) this.deletingSince.set(pod.uid, this.clock.now());
    }
    this.progress = { podsLeft: this.left.length, podsAtStart: this.seen.size, ...this.waiting() };
    return this.progress;
  }

  /** What still stands in the way, by what was read last. */
  forecast(): DrainForecast {
    return forecastDrain({ pods: this.left, budgets: this.budgets, daemonSets: this.daemonSets }, this.options);
  }

  /** The first pod for which kubectl would refuse the drain, though it is going by itself. */
  goingButRefused(): string | undefined {
    const pod = this.left.find((found) => found.deleting && refusals(found, this.options).length > 0);
    return pod === undefined ? undefined : podKey(pod);
  }

  private async learnDaemonSets(pods: readonly Pod[], patience: Patience): Promise<void> {
    const unknown = pods.filter((pod) => pod.controller?.kind === 'DaemonSet' && !this.asked.has(ownerKey(pod)));
    const names = new Set(unknown.map(ownerKey));
    for (const name of await findDaemonSets(this.api, names, patience)) this.daemonSets.add(name);
    for (const name of names) this.asked.add(name);
  }

  private waiting(): Pick<DrainProgress, 'waitingFor' | 'because'> {
    for (const pod of this.left) {
      if (pod.deleting || pod.finished || pod.pending) continue;
      const budget = budgetsOf(pod, this.budgets).find((found) => found.disruptionsAllowed <= 0);
      if (budget === undefined) continue;
      return { waitingFor: podKey(pod), because: `budget ${budget.namespace}/${budget.name} allows 0` };
    }
    const ending = this.left.find((pod) => pod.deleting);
    if (ending === undefined) return {};
    const since = this.clock.now() - (this.deletingSince.get(ending.uid) ?? this.clock.now());
    const held = ending.finalizers.length === 0 ? '' : `, held by finalizer ${ending.finalizers.join(', ')}`;
    return { waitingFor: podKey(ending), because: `terminating since ${shortTime(since)}${held}` };
  }
}

import { KubeosError, LockLostError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { FoundMarks, NodeRecord } from '../rollout/facts.ts';
import type { Clock } from '../rollout/ports.ts';
import type { Api } from './api.ts';
import { isConflict, isNotFound } from './api-error.ts';
import { nodePath } from './names.ts';
import { nodeSchema, readRecord, RECORD_ANNOTATION, writeRecord, type ApiNode } from './node-facts.ts';

/** The kubelet and controllers write to nodes too; each conflict means one of them was quicker. */
const MOST_CONFLICTS = 30;
const CONFLICT_PAUSE_MS = 50;

/** Our cordon and annotation on nodes; every change is one patch that holds only for the state it was decided on. */
export class NodeMarks {
  private readonly api: Api;
  private readonly clock: Clock;
  private readonly confirm: () => Promise<void>;

  /** @param confirm rejects with LockLostError where the lock that the changes are made under is gone */
  constructor(api: Api, clock: Clock, confirm: () => Promise<void>) {
    this.api = api;
    this.clock = clock;
    this.confirm = confirm;
  }

  /** As `Cluster.record`. */
  async record(node: string, record: NodeRecord): Promise<FoundMarks> {
    let found: FoundMarks | undefined;
    await this.change(node, 'write the record', (seen) => {
      const before = requireOurTurn(node, seen, record.token);
      const cordoned = seen.spec.unschedulable === true;
      found = { uid: seen.metadata.uid, cordoned, ...(before === undefined ? {} : { record: before }) };
      return { metadata: { annotations: { [RECORD_ANNOTATION]: writeRecord(record) } } };
    });
    if (found === undefined) throw new Error('a record was written without a look at its node');
    return found;
  }

  /** As `Cluster.cordon`. */
  async cordon(node: string, wanted: Omit<NodeRecord, 'cordon'>): Promise<NodeRecord> {
    let result: NodeRecord = { ...wanted, cordon: 'ours' };
    await this.change(node, 'cordon', (seen) => {
      const before = requireOurTurn(node, seen, wanted.token);
      const cordoned = seen.spec.unschedulable === true;
      result = { ...wanted, cordon: cordoned && before?.cordon !== 'ours' ? 'found' : 'ours' };
      return {
        metadata: { annotations: { [RECORD_ANNOTATION]: writeRecord(result) } },
        ...(cordoned ? {} : { spec: { unschedulable: true } }),
      };
    });
    return result;
  }

  /** As `Cluster.release`. */
  async release(node: string, token: number): Promise<boolean> {
    let found = true;
    let sent = false;
    await this.change(node, 'take the marks off', (seen) => {
      const record = requireOurTurn(node, seen, token);
      // Gone after a patch of ours, whose answer was lost: by that patch.
      found = record !== undefined || sent;
      if (record === undefined) return undefined;
      sent = true;
      const uncordon = record.cordon === 'ours' && seen.spec.unschedulable === true;
      return {
        metadata: { annotations: { [RECORD_ANNOTATION]: null } },
        ...(uncordon ? { spec: { unschedulable: null } } : {}),
      };
    }).catch((error: unknown) => {
      // A node that was deleted bears no mark of ours.
      if (!isNotFound(error)) throw error;
    });
    return found;
  }

  /**
   * Reads, decides, patches; again from the start when something else changed the node in between. The lock is asked
   * for after the node was read: what a newer run did to the node before that is seen by the token on it or by the lost
   * lock, and what it does after that makes the patch fail.
   */
  private async change(node: string, doing: string, decide: (seen: ApiNode) => Patch | undefined): Promise<void> {
    for (let conflicts = 0; ; conflicts++) {
      const path = nodePath(node);
      const seen = await this.api.send({ doing: `read node ${node}`, path, answer: nodeSchema });
      const patch = decide(seen);
      if (patch === undefined) return;
      await this.confirm();
      try {
        await this.api.send({
          doing: `${doing}: node ${node}`,
          method: 'PATCH',
          path,
          contentType: 'application/merge-patch+json',
          body: { ...patch, metadata: { ...patch.metadata, resourceVersion: seen.metadata.resourceVersion } },
          answer: nodeSchema,
        });
        return;
      } catch (error) {
        if (!isConflict(error) || conflicts >= MOST_CONFLICTS) throw error;
        await this.clock.sleep(CONFLICT_PAUSE_MS);
      }
    }
  }
}

interface Patch {
  metadata: { annotations: Record<string, string | null> };
  spec?: { unschedulable: true | null };
}

/** Our annotation on the node, unless a newer run owns it or somebody made it unreadable. */
function requireOurTurn(node: string, seen: ApiNode, token: number): NodeRecord | undefined {
  const { record, recordProblem } = readRecord(seen);
  if (recordProblem !== undefined) {
    throw new KubeosError(`what a run left on node ${node} cannot be read`, EXIT.incomplete, {
      node,
      reason: recordProblem,
      next: `see whether the node is cordoned rightly, then remove it: kubectl annotate node ${node} ${RECORD_ANNOTATION}-`,
    });
  }
  if (record !== undefined && record.token > token) {
    throw new LockLostError(`node ${node} belongs to a newer run`, {
      node,
      reason: `run ${record.run} has the token ${record.token}; this run has ${token}`,
      next: 'leave it to that run: kubeos status',
    });
  }
  return record;
}

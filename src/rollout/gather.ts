import pLimit from 'p-limit';
import { ConnectError, InterruptedError, KubeosError, PreflightError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { assemblePlan, nodesToDrain, nodesToFetch } from './assemble-plan.ts';
import type { ClusterNode, NodeObservation } from './facts.ts';
import type { RolloutRequest } from './goal.ts';
import { decompressedHere } from './decompress.ts';
import { lookFromHere, lookFromNodes, type Look } from './look.ts';
import type { Plan } from './plan-types.ts';
import type { PreflightRequest } from './preflight-types.ts';
import { isHttps } from './preflight-node.ts';
import { diskOf } from './requests.ts';
import { findBootDoubts } from './other-machine.ts';
import type { Clock, Cluster, DiskArtifact, ImageSource, LockState, MissingRight, Remote } from './ports.ts';
import { missingRightsFinding } from './refusals.ts';
import { isLive } from './lock-state.ts';
import { selectNodes } from './selection.ts';
import { viaOf } from './via.ts';

/**
 * Reads everything that a plan is made of, and makes it. Changes nothing.
 * @param shown the plan of the same request that was made before: then it is quick about what that one has settled. Its
 *   forecasts hold (each node's drain is forecast once more before its write), and a node that did not answer then is
 *   not waited for again.
 */
export async function gatherPlan(
  ports: { cluster: Cluster; remote: Remote; clock: Clock; images?: ImageSource | undefined },
  request: RolloutRequest,
  signal?: AbortSignal,
  shown?: Plan,
): Promise<Plan> {
  const { cluster, remote } = ports;
  const missingRights = await cluster.missingRights(request.rights, request.drain);
  // Else the first thing that may not be read would be told, and not the others.
  if (missingRights.some(({ toRead }) => toRead)) throw notAllowed(missingRights);
  const nodes = await cluster.nodes(signal);
  // It throws where the selection cannot be meant: before anything is under way that nobody would wait for then.
  const { selected } = selectNodes(nodes, request.selection, request.goal.version);
  const [osResources, lock, observed] = await Promise.all([
    cluster.osResources(),
    // A plan that is made anew is made under the run's own lock.
    shown === undefined ? cluster.lockState() : undefined,
    observeAll(remote, selected, signal, (node) => !wasAway(shown, node), preflightOf(request)),
  ]);
  const facts = { request, nodes, observed };
  const known = new Map(shown?.entries.map(({ node, drain }) => [node, drain]));
  const toDrain = shown === undefined ? nodesToDrain(facts) : [];
  const artifact = diskOf(request);
  const toFetch = shown === undefined && artifact !== undefined ? nodesToFetch(facts) : [];
  const [forecasts, look, bootDoubts] = await Promise.all([
    toDrain.length === 0 ? known : cluster.forecastDrains(toDrain, request.drain),
    artifact === undefined || toFetch.length === 0
      ? lookedBefore(shown)
      : lookAtImage(ports, facts, { toFetch, artifact }, signal),
    findBootDoubts(ports, selected, observed, signal),
  ]);
  const apiClock = cluster.clockOffset();
  return assemblePlan({
    ...facts,
    request: withoutHere(request, look),
    forecasts,
    bootDoubts,
    osResources,
    missingRights,
    ...liveOnly(lock),
    ...(look === undefined ? {} : { look }),
    ...(apiClock === undefined ? {} : { apiClock }),
  });
}

const liveOnly = (lock: LockState | undefined): { liveLock?: LockState } =>
  lock !== undefined && isLive(lock) ? { liveLock: lock } : {};

function lookedBefore(shown: Plan | undefined): Look | undefined {
  const seen = shown?.image?.seen;
  const fed = shown?.entries.filter(({ via }) => via === 'ssh') ?? [];
  const notHere = shown?.ways?.notHere;
  if (seen === undefined && fed.length === 0 && notHere === undefined) return undefined;
  return {
    ...(seen === undefined ? {} : { seen }),
    // What was to be fed is fed still.
    noWay: new Map(fed.map(({ node }) => [node, ''])),
    ...(notHere === undefined ? {} : { notHere }),
  };
}

/** From the nodes that will fetch it by themselves, and from here for those that will not, or do not get to it. */
async function lookAtImage(
  { remote, images }: { remote: Remote; images?: ImageSource | undefined },
  { request, observed }: { request: RolloutRequest; observed: ReadonlyMap<string, NodeObservation | Error> },
  { toFetch, artifact }: { toFetch: readonly ClusterNode[]; artifact: DiskArtifact },
  signal: AbortSignal | undefined,
): Promise<Look | undefined> {
  const { ways } = request;
  const isFed = (node: ClusterNode, look?: Look): boolean => {
    const seen = observed.get(node.name);
    if (seen === undefined || seen instanceof Error) return true;
    const isAway = look?.noWay.has(node.name);
    return viaOf(seen, ways, isAway) === 'ssh' || decompressedHere({ seen, request, look }) !== undefined;
  };
  const byThemselves = toFetch.filter((node) => !isFed(node));
  const look = await lookFromNodes(remote, byThemselves, artifact, signal);
  const byTool = ways?.via !== undefined && ways.via !== 'ssh';
  const needed = look.noWay.size > 0 || toFetch.some((node) => isFed(node, look));
  if (images === undefined || byTool || look.refused !== undefined || !needed) return isEmpty(look) ? undefined : look;
  const here = await lookFromHere(images, artifact, signal);
  const { notHere } = here;
  if (look.seen !== undefined) return { ...look, ...(notHere === undefined ? {} : { notHere }) };
  return { ...here, noWay: new Map([...look.noWay, ...here.noWay]) };
}

const isEmpty = ({ seen, refused, noWay }: Look): boolean =>
  seen === undefined && refused === undefined && noWay.size === 0;

/** What this machine does not get it sends to no node. */
function withoutHere(request: RolloutRequest, look: Look | undefined): RolloutRequest {
  const { ways } = request;
  if (ways === undefined || look?.seen === undefined || look.notHere === undefined) return request;
  return { ...request, ways: { ...ways, here: false, notHere: look.notHere } };
}

/** Certificates of the node take part only where the image comes by https. */
function preflightOf(request: RolloutRequest): PreflightRequest {
  const { image } = request;
  if (request.goal.operation !== 'upgrade' || image === undefined) return {};
  if (image.type !== 'disk') return { engine: image.type };
  const { artifact } = image;
  if (!isHttps(artifact)) return {};
  const { cacert, clientcert, clientkey } = artifact;
  return {
    certificates: {
      ...(cacert === undefined ? {} : { cacert }),
      ...(clientcert === undefined ? {} : { clientcert }),
      ...(clientkey === undefined ? {} : { clientkey }),
    },
  };
}

function notAllowed(missing: readonly MissingRight[]): PreflightError {
  const { what, ...context } = missingRightsFinding(missing);
  return new PreflightError(what, context);
}

const wasAway = (shown: Plan | undefined, name: string): boolean =>
  shown?.notStarted.some(({ node, unreachable }) => node === name && unreachable) === true;

/** More are never asked at once; the adapter has its own limit on new connections. */
const OBSERVED_AT_ONCE = 64;

/**
 * Asks every node where it stands; one that cannot be asked is told by its error.
 * @param preflight what is asked beside each node's standing
 * @param patience whether to wait for a node that a run has just rebooted; else none is waited for
 */
export async function observeAll(
  remote: Remote,
  nodes: readonly ClusterNode[],
  signal?: AbortSignal,
  patience: (node: string) => boolean = () => false,
  preflight?: PreflightRequest,
): Promise<ReadonlyMap<string, NodeObservation | KubeosError>> {
  const limit = pLimit(OBSERVED_AT_ONCE);
  const answers = await Promise.all(
    nodes.map((node) => limit(() => observeOne(remote, node, signal, patience(node.name), preflight))),
  );
  signal?.throwIfAborted();
  return new Map(answers);
}

async function observeOne(
  remote: Remote,
  node: ClusterNode,
  signal: AbortSignal | undefined,
  patient: boolean,
  preflight: PreflightRequest | undefined,
): Promise<[string, NodeObservation | KubeosError]> {
  const ask = (): Promise<NodeObservation> => remote.observe(node, signal, preflight);
  try {
    return [node.name, await (patient ? despiteItsReboot(remote, node, signal, ask) : ask())];
  } catch (error) {
    // Ctrl-C at a question, for a password say, is meant for the whole command.
    if (error instanceof InterruptedError) throw error;
    return [node.name, error instanceof KubeosError ? error : bug(error, node.name)];
  }
}

const BOOT_PATIENCE_MS = 5 * 60_000;

/**
 * Asks a node something. Where it does not answer because a run that died has just rebooted it, its annotation says
 * so: then its boot is waited for, a few minutes, and it is asked again.
 */
export async function despiteItsReboot<T>(
  remote: Remote,
  node: ClusterNode,
  signal: AbortSignal | undefined,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ConnectError) || node.record?.step !== 'reboot') throw error;
    const never = new AbortController().signal;
    try {
      // No boot has the empty id, so any answer will do.
      if ((await remote.awaitBoot(node, '', BOOT_PATIENCE_MS, signal ?? never)) === undefined) throw error;
    } catch (problem) {
      if (problem instanceof ConnectError || !(problem instanceof KubeosError)) throw problem;
    }
    return ask();
  }
}

/** A bug met on one node must not hide what the others say. */
const bug = (error: unknown, node: string): KubeosError =>
  new KubeosError(`a bug in kubeos: ${error instanceof Error ? error.message : String(error)}`, EXIT.bug, {
    node,
    cause: error,
    next: 'report it with this message',
  });

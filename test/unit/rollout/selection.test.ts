import { describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/errors.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import { parseLabelSelector } from '../../../src/rollout/label-selector.ts';
import { emptySelection, selectNodes, type SelectionOptions } from '../../../src/rollout/selection.ts';
import { clusterNode } from './fixtures.ts';

describe('label selectors, as kubectl -l reads them', () => {
  const labels = { zone: 'a', tier: 'web', 'example.org/gpu': '', cores: '8' };
  test.each([
    ['', true],
    ['zone', true],
    ['!zone', false],
    ['!rack', true],
    ['zone=a', true],
    ['zone==a', true],
    ['zone = a , tier=web', true],
    ['zone=b', false],
    ['zone!=b', true],
    ['rack!=b', true],
    ['zone in (a, b)', true],
    ['zone in (b)', false],
    ['rack in (b)', false],
    ['zone notin (a)', false],
    ['rack notin (a)', true],
    ['example.org/gpu', true],
    ['example.org/gpu=', true],
    ['zone=', false],
    ['cores>7', true],
    ['cores<8', false],
    ['zone>1', false],
    ['zone=a,!rack,tier in (web,db)', true],
  ])('%s: %s', (text, expected) => {
    expect(parseLabelSelector(text)(labels)).toBe(expected);
  });

  test.each([
    '=a',
    'zone=a,',
    ',',
    'zone in a',
    'zone in (a',
    'zone=a b',
    'a//b=c',
    'zone in',
    '!',
    'zone=-a',
    'x>y',
    '(a)',
  ])('%s cannot be read', (text) => {
    expect(() => parseLabelSelector(text)).toThrow(UsageError);
  });
});

const LABEL = 'upgrade.openeuler.org/node-selector';
const named = (name: string, change: Partial<ClusterNode> = {}): ClusterNode => clusterNode({ name, ...change });
const NODES = [
  named('w-10'),
  named('w-2', { labels: { zone: 'a' } }),
  named('cp-1', { controlPlane: true }),
  named('ubuntu-1', { osImage: 'Ubuntu 24.04' }),
  named('edge-1', { labels: { [LABEL]: 'edge', zone: 'a' } }),
  named('blank-1', { labels: { [LABEL]: '' } }),
];

function select(options: Partial<SelectionOptions>): { selected: string[]; addressed: string[]; leftOut: string } {
  const { selected, addressed, leftOut } = selectNodes(NODES, { includeControlPlane: false, ...options });
  return {
    selected: selected.map(({ name }) => name),
    addressed: addressed.map(({ name }) => name),
    leftOut: leftOut.map(({ node, because }) => `${node}: ${because}`).join('\n'),
  };
}

describe('selection', () => {
  test('all KubeOS nodes but the control plane, in natural order, the others with what left them out', () => {
    const { selected, leftOut } = select({});
    expect(selected).toEqual(['blank-1', 'edge-1', 'w-2', 'w-10']);
    expect(leftOut).toBe('cp-1: control plane; --include-control-plane\nubuntu-1: not KubeOS (Ubuntu 24.04)');
  });

  test("the spec's nodeselector chooses as KubeOS's operator does", () => {
    expect(select({ nodeselector: { kind: 'no-label' } }).selected).toEqual(['w-2', 'w-10']);
    expect(select({ nodeselector: { kind: 'all' } }).selected).toHaveLength(4);
    expect(select({ nodeselector: { kind: 'value', value: 'edge' } }).selected).toEqual(['edge-1']);
    expect(select({ nodeselector: { kind: 'value', value: '' } }).selected).toEqual(['blank-1']);
    expect(select({ nodeselector: { kind: 'no-label' } }).leftOut).toContain(`edge-1: the spec's nodeselector`);
  });

  test('what narrows the run does not narrow what the budget is counted over', () => {
    const { selected, addressed } = select({ selector: 'zone=a', exclude: ['edge-1'], nodes: ['w-2', 'edge-1'] });
    expect(selected).toEqual(['w-2']);
    expect(addressed).toEqual(['blank-1', 'edge-1', 'w-2', 'w-10']);
  });

  test('control plane nodes on request', () => {
    expect(select({ includeControlPlane: true }).selected).toContain('cp-1');
  });

  test('a node that reports the very version of the spec is KubeOS, whatever it is called', () => {
    const { selected } = selectNodes([named('x', { osImage: '2.0.0' })], { includeControlPlane: false }, '2.0.0');
    expect(selected).toHaveLength(1);
  });

  test.each<[string, Partial<SelectionOptions>, RegExp]>([
    ['an unknown name in --nodes', { nodes: ['w-2', 'w-3'] }, /--nodes names w-3, which the cluster does not have/],
    ['an unknown name in --exclude', { exclude: ['x'] }, /--exclude names x/],
    ['a node that is not KubeOS, by name', { nodes: ['ubuntu-1'] }, /--nodes names ubuntu-1, which is left out/],
    ['a control plane node by name', { nodes: ['cp-1'] }, /cp-1/],
    ['a node of another nodeselector by name', { nodes: ['edge-1'], nodeselector: { kind: 'no-label' } }, /edge-1/],
  ])('%s is an error', (_name, options, message) => {
    expect(() => select(options)).toThrow(message);
    expect(() => select(options)).toThrow(UsageError);
  });

  test('nothing selected: what left the nodes out is told together', () => {
    const selection = selectNodes(NODES, { includeControlPlane: false, selector: 'zone=z' });
    expect(emptySelection(selection)).toEqual({
      what: 'no node is selected',
      reason: [
        'blank-1, edge-1, w-2, w-10: --selector zone=z',
        'cp-1: control plane; --include-control-plane',
        'ubuntu-1: not KubeOS (Ubuntu 24.04)',
      ].join('\n'),
      next: expect.stringContaining('--selector') as string,
    });
  });
});

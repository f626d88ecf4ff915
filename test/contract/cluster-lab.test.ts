import { describe } from 'vitest';
import { describeClusterContract } from './cluster-suite.ts';
import { openLabBed } from './lab-bed.ts';

// The ages of KubeOS clusters: with policy/v1beta1 only, and with policy/v1 only.
describe.each(['v1.20.2', 'v1.34.4'])('the lab as %s', (version) => {
  describeClusterContract("kubectl and the lab's API", () => openLabBed(version));
});

import { describeClusterContract } from './cluster-suite.ts';
import { onLabVersionsAtOnce } from './envtest.ts';
import { openLabBed } from './lab-bed.ts';

onLabVersionsAtOnce('the contract of the cluster', (version) => {
  describeClusterContract("kubectl and the lab's API", () => openLabBed(version));
});

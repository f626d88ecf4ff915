import { labBed } from './remote-beds.ts';
import { describeRemoteContract } from './remote-suite.ts';

describeRemoteContract('SSH to the lab’s server, as a user with sudo,', labBed('ops'));

import { opensshBed } from './remote-beds.ts';
import { describeRemoteContract } from './remote-suite.ts';

describeRemoteContract('SSH to OpenSSH’s server', opensshBed);

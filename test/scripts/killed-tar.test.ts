import { describeKilled } from './killed-suite.ts';

describeKilled('dash', 'uefi', 'tar');

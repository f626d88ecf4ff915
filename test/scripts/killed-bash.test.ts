import { describeKilled } from './killed-suite.ts';

describeKilled('bash', 'bios');

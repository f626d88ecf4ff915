import { describeKilled } from './killed-suite.ts';

describeKilled('busybox', 'uefi');

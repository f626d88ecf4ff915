export type { ControlledNode } from './control.ts';
export { askLab } from './control.ts';
export { runLab, startInBackground, stopLab } from './daemon.ts';
export { FAULTS, FAULT_KINDS, isFaultKind } from './faults.ts';
export { labPaths } from './lab-files.ts';
export { defaultLabDir } from './lab-folder.ts';
export { findLab, noLab } from './lab-record.ts';
export { assertLinux } from './tools.ts';

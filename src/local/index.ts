export { describeHolder } from './holder.ts';
export { runLogDir } from './log-dir.ts';
export { createLogReport } from './log-report.ts';
export { ownPod, type OwnPod } from './own-pod.ts';
export { createPrompter } from './prompt.ts';
export { newRunId } from './run-id.ts';
export { childEnvironment, flagSetting, secretSetting } from './settings.ts';
export { listenForSignals, type StopSignals } from './signals.ts';
export { readSpecSource } from './spec-source.ts';

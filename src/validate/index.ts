export { redactUrl, redactUrls } from './redact.ts';
export { validateSpec } from './validate.ts';
export type * from './spec.ts';

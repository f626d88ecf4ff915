import type { Plugin } from 'esbuild';

export declare function minifyShell(text: string): Promise<string>;
export declare const shellScripts: Plugin;

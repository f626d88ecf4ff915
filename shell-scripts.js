// How a `.sh` file is imported, by the build and in tests: as its text, without comments, indentation and whatever else
// its commands do without, since most of it is sent to a node again with each call.
import { readFile } from 'node:fs/promises';
import { LangVariant, print } from 'sh-syntax';

const known = new Map();

/** What shfmt's `--minify` makes of a script for /bin/sh. Rejects where it is none. */
export function minifyShell(text) {
  // Each tier of the tests asks for every script.
  const minified =
    known.get(text) ?? print(text, { variant: LangVariant.LangPOSIX, minify: true, spaceRedirects: false });
  known.set(text, minified);
  return minified;
}

/** For esbuild. */
export const shellScripts = {
  name: 'shell-scripts',
  setup(build) {
    build.onLoad({ filter: /\.sh$/ }, async ({ path }) => ({
      contents: await minifyShell(await readFile(path, 'utf8')),
      loader: 'text',
    }));
  },
};

/**
 * Whether a kernel is of openEuler 22.09 or later, which KubeOS's usage instructions demand for docker images and mTLS.
 * openEuler's kernels carry their release: `.oe2203`, `.oe2203sp1`, and `.oe1` for 20.03. The service packs of 22.03 LTS
 * came after 22.09 (SP1 in December 2022). Undefined where the kernel does not say.
 * @param kernelVersion as `uname -r` prints it: `5.10.0-60.18.0.50.oe2203.x86_64`
 */
export function isSinceOpenEuler2209(kernelVersion: string): boolean | undefined {
  const match = /\.oe(?<release>\d+)(?<pack>sp\d+)?(?:\.|$)/.exec(kernelVersion);
  if (match?.groups === undefined) return undefined;
  const { release = '', pack } = match.groups;
  const number = Number(release);
  return number >= 2209 || (number === 2203 && pack !== undefined);
}

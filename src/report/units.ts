/**
 * A length of time for people, in two parts at most: `0s`, `48s`, `1m 02s`, `2h 05m`, `3d 04h`. Below a second it is
 * `0s`; negative times, which clocks that were set can cause, too.
 */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h ${two(Math.floor(seconds / 60) % 60)}m`;
  return `${Math.floor(seconds / 86_400)}d ${two(Math.floor(seconds / 3600) % 24)}h`;
}

/** A rough length of time, in one part: `48s`, `4m`, `2h`, `3d`; what was set by a flag looks as it was given (`10m`). */
export function roughDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** `512 B`, `3.4 KiB`, `12 MiB`, `2.0 GiB`: two digits at least, a decimal below ten. */
export function bytes(count: number): string {
  const { scale, unit } = scaleOf(count);
  return `${scaled(count, scale)} ${unit}`;
}

/** `1.2 of 2.0 GiB`, in the unit of the whole. */
export function bytesOf(done: number, total: number): string {
  const { scale, unit } = scaleOf(total);
  return `${scaled(done, scale)} of ${scaled(total, scale)} ${unit}`;
}

/** `118 MiB/s`. */
export const speed = (bytesPerSecond: number): string => `${bytes(bytesPerSecond)}/s`;

/** Rounded down, so that 100% means all of it. */
export const percent = (done: number, total: number): string =>
  `${total > 0 ? Math.min(100, Math.max(0, Math.floor((done / total) * 100))) : 100}%`;

/** `12:04:05`, in this machine's time zone. */
export function timeOfDay(at: number): string {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** `2026-11-23 (UTC+01:00)`: the day and the offset that the times of a plain log leave out. */
export function dayAndZone(at: number): string {
  const date = new Date(at);
  const offset = -date.getTimezoneOffset();
  const ahead = Math.abs(offset);
  const zone = `UTC${offset < 0 ? '-' : '+'}${two(Math.floor(ahead / 60))}:${two(ahead % 60)}`;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} (${zone})`;
}

/** The start and the end of a digest, as people compare them: `9f2c40d1…7be841aa`. */
export const shortDigest = (sha256: string): string =>
  sha256.length <= 16 ? sha256 : `${sha256.slice(0, 8)}…${sha256.slice(-8)}`;

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** A step later than 1024 would say: 1000 MiB would take four digits. */
function scaleOf(count: number): { scale: number; unit: string } {
  let scale = 1;
  let index = 0;
  while (count / scale >= 999.5 && index < UNITS.length - 1) {
    scale *= 1024;
    index += 1;
  }
  return { scale, unit: UNITS[index] ?? 'B' };
}

function scaled(count: number, scale: number): string {
  const value = Math.max(0, count) / scale;
  return scale > 1 && value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}

const two = (value: number): string => String(value).padStart(2, '0');

/**
 * A time that a node has recorded, in ISO 8601; undefined for what no clock can have said.
 * @param seconds since 1970; 0: not recorded
 */
export function recordedTime(seconds: number): string | undefined {
  const time = new Date(seconds * 1000);
  return seconds === 0 || Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}

/** A terminal that went away must not end the run: its nodes are still on their way. */
export function quietly(write: () => unknown): void {
  try {
    write();
  } catch {
    // Nobody is left to be told.
  }
}

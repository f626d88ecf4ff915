/** As much of `process` as is needed; a test hands in its own. */
export interface UncaughtSource {
  exitCode?: number | string | null | undefined;
  on(event: 'uncaughtException' | 'unhandledRejection', listener: (error: unknown) => void): unknown;
  exit(code: number): unknown;
}

/** Errors that nobody caught: thrown in event handlers, or rejections that nobody waits for. They are bugs. */
export class UncaughtErrors {
  #first: { error: unknown } | undefined;
  #stop: ((error: unknown) => void) | undefined;

  /** The first of them; undefined where there was none. */
  get first(): { error: unknown } | undefined {
    return this.#first;
  }

  /** A bug ends the task by `stop` from here on, until the returned function is called: it has work to bring to an end. */
  endBy(stop: (error: unknown) => void): () => void {
    this.#stop = stop;
    return () => (this.#stop = undefined);
  }

  /**
   * Listens from here on. A task that can end itself is told to, once; without one the process ends at once.
   * @param print says what the error is, before the process ends; not called for a task, whose end says it
   * @param exitCode of a process that has met such an error
   */
  listen(source: UncaughtSource, print: (error: unknown) => Promise<unknown>, exitCode: number): void {
    const onError = (error: unknown): void => {
      const isFirst = this.#first === undefined;
      this.#first ??= { error };
      // Also where the task never comes to its end, since the bug cut what it waits for.
      source.exitCode = exitCode;
      if (this.#stop !== undefined) {
        if (isFirst) this.#stop(error);
        return;
      }
      print(error).then(
        () => source.exit(exitCode),
        () => source.exit(exitCode),
      );
    };
    source.on('uncaughtException', onError);
    source.on('unhandledRejection', onError);
  }
}

/** What is on its way into the lab: a command with all its standard input, or a request with its body. */
export type Passing =
  { kind: 'command'; node: string; input: string } | { kind: 'request'; method: string; path: string; body: string };

/**
 * Where everything stops that reaches the lab's nodes and its API, for as long as the gate's keeper wants: a seam for
 * tests of runs that are killed, cut off or reset at an exact moment. Neither method may reject.
 */
export interface LabGate {
  /** Before it has any effect. Resolves to false where it never shall: then its client gets no answer. */
  enter(what: Passing): Promise<boolean>;
  /** After its effect, and before its client is told of it. */
  leave(what: Passing): Promise<void>;
}

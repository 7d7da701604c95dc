import { setFlagsFromString } from "node:v8";

/**
 * Lets V8 fall back to its linear-time engine when a match backtracks too much, so that no
 * expression of a route can hang the proxy. Our compiler refuses the constructs which that engine
 * cannot run (back-references, look-around). Must be called before the first RegExp is compiled
 * that shall profit; the flag is process-wide.
 */
export function enableLinearRegExpFallback(): void {
  setFlagsFromString("--enable-experimental-regexp-engine-on-excessive-backtracks");
}

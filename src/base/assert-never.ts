/** Ends a `switch` over a union: compiles only when every case is handled. Throws if reached. */
export function assertNever(value: never): never {
  throw new TypeError(`unhandled case: ${JSON.stringify(value)}`);
}

/** RFC 3339 in whole seconds, as metav1.Time is written. */
export function timestamp(atMs: number): string {
  return new Date(atMs).toISOString().replace(/\.\d+Z$/, "Z");
}

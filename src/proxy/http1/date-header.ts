let second = -1;
let text = "";

/** An IMF-fixdate (RFC 9110 §5.6.7); made once a second. */
export function dateHeader(nowMs: number): string {
  const now = Math.floor(nowMs / 1000);
  if (now !== second) {
    second = now;
    text = new Date(nowMs).toUTCString();
  }
  return text;
}

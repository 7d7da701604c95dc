import { SerinError } from "./errors.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * Parses a Go duration (`1m30s`, `500ms`, `1.5h`; https://pkg.go.dev/time#ParseDuration) to
 * milliseconds. Throws SERIN_INVALID_RESOURCE when it is not one.
 */
export function parseDurationMs(text: string): number {
  const durationMs = tryParseDurationMs(text);
  if (durationMs === undefined) {
    throw new SerinError(
      "SERIN_INVALID_RESOURCE",
      `not a duration: ${JSON.stringify(text)} (expected e.g. 30s, 1m30s or 500ms)`,
    );
  }
  return durationMs;
}

/** As parseDurationMs, but undefined when the text is not a duration. */
export function tryParseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  const match = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+)$/.exec(text);
  if (match === null) return undefined;
  let durationMs = 0;
  for (const part of (match[2] ?? "").matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    durationMs += Number(part[1]) * (UNIT_MS[part[2] ?? ""] ?? Number.NaN);
  }
  return match[1] === "-" ? -durationMs : durationMs;
}

/** Formats milliseconds as a short Go duration: `1m30s`, `2.5s`, `40ms`. */
export function formatDurationMs(durationMs: number): string {
  if (durationMs < 0) return `-${formatDurationMs(-durationMs)}`;
  if (durationMs < 1000) return `${Math.round(durationMs)}ms`;
  const hours = Math.floor(durationMs / 3_600_000);
  const minutes = Math.floor((durationMs % 3_600_000) / 60_000);
  const seconds = Math.round((durationMs % 60_000) / 100) / 10;
  const parts = [hours > 0 ? `${hours}h` : "", minutes > 0 ? `${minutes}m` : ""];
  if (seconds > 0) parts.push(`${seconds}s`);
  return parts.join("");
}

/**
 * A duration as kubectl's AGE column shows it: two units while that says something (`2m13s`,
 * `4h`, `3d2h`), `<invalid>` for times in the future.
 * Source: k8s.io/apimachinery/pkg/util/duration HumanDuration.
 */
export function formatAge(durationMs: number): string {
  const seconds = Math.trunc(durationMs / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(minutes / 60);
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(hours / 24);
  if (hours < 24 * 8) return two(days, "d", hours % 24, "h");
  if (hours < 24 * 365 * 2) return `${days}d`;
  const years = Math.trunc(days / 365);
  return hours < 24 * 365 * 8 ? two(years, "y", days % 365, "d") : `${years}y`;
}

function two(big: number, bigUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${big}${bigUnit}` : `${big}${bigUnit}${small}${smallUnit}`;
}

/** The age of something that happened at an RFC 3339 time; `<unknown>` when it never did. */
export function ageSince(timestamp: unknown, nowMs: number): string {
  const atMs = timestampMs(timestamp);
  return atMs === undefined ? "<unknown>" : formatAge(nowMs - atMs);
}

const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|([+-])(\d\d):(\d\d))$/;

/** Milliseconds since the epoch of an RFC 3339 time; undefined when it is not one. */
export function timestampMs(timestamp: unknown): number | undefined {
  const match = typeof timestamp === "string" ? RFC3339.exec(timestamp) : null;
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number);
  const offsetMinutes = Number(match[10] ?? 0) * 60 + Number(match[11] ?? 0);
  const sign = match[9] === "-" ? -1 : 1;
  const dayMs = daysFromCivil(year ?? 0, month ?? 1, day ?? 1) * 86_400_000;
  const clockMs = ((hour ?? 0) * 3600 + (minute ?? 0) * 60 + (second ?? 0)) * 1000;
  return dayMs + clockMs + Number(match[7] ?? 0) * 1000 - sign * offsetMinutes * 60_000;
}

/** Days since 1970-01-01 (Howard Hinnant, chrono-compatible date algorithms). */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

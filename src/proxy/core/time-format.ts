const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  ...["January", "February", "March", "April", "May", "June", "July"],
  ...["August", "September", "October", "November", "December"],
];
const MS_PER_DAY = 86_400_000;

/** A moment in UTC, taken apart. */
interface Moment {
  readonly epochSeconds: number;
  /** 0..999,999,999 */
  readonly nanos: number;
  readonly year: number;
  /** 1..12 */
  readonly month: number;
  /** 1..31 */
  readonly day: number;
  /** 1..366 */
  readonly dayOfYear: number;
  /** 0 = Sunday */
  readonly weekday: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

type Part = string | ((moment: Moment) => string);

const padded = (value: number, width = 2, fill = "0"): string =>
  String(value).padStart(width, fill);
const hour12 = ({ hour }: Moment): number => hour % 12 || 12;
const iso = (m: Moment): string => `${m.year}-${padded(m.month)}-${padded(m.day)}`;
const clock = (m: Moment): string => `${padded(m.hour)}:${padded(m.minute)}:${padded(m.second)}`;

/** strftime's conversions, in the C locale and UTC. */
const CONVERSIONS: Readonly<Record<string, Part>> = {
  "%": "%",
  A: (m) => DAYS[m.weekday] ?? "",
  B: (m) => MONTHS[m.month - 1] ?? "",
  C: (m) => padded(Math.floor(m.year / 100)),
  D: (m) => `${padded(m.month)}/${padded(m.day)}/${padded(m.year % 100)}`,
  F: iso,
  H: (m) => padded(m.hour),
  I: (m) => padded(hour12(m)),
  M: (m) => padded(m.minute),
  R: (m) => `${padded(m.hour)}:${padded(m.minute)}`,
  S: (m) => padded(m.second),
  T: clock,
  X: clock,
  Y: (m) => String(m.year),
  Z: "UTC",
  a: (m) => (DAYS[m.weekday] ?? "").slice(0, 3),
  b: (m) => (MONTHS[m.month - 1] ?? "").slice(0, 3),
  d: (m) => padded(m.day),
  e: (m) => padded(m.day, 2, " "),
  h: (m) => (MONTHS[m.month - 1] ?? "").slice(0, 3),
  j: (m) => padded(m.dayOfYear, 3),
  m: (m) => padded(m.month),
  n: "\n",
  p: (m) => (m.hour < 12 ? "AM" : "PM"),
  s: (m) => String(m.epochSeconds),
  t: "\t",
  u: (m) => String(m.weekday || 7),
  w: (m) => String(m.weekday),
  y: (m) => padded(m.year % 100),
  z: "+0000",
};

/**
 * Compiles a strftime format for moments in UTC (milliseconds since the epoch, with a fraction).
 * `%f` is the nanoseconds, `%1f` to `%9f` their first digits. `fail` is told of other conversions.
 * Source: Envoy's START_TIME.
 */
export function compileTimeFormat(
  format: string,
  fail: (message: string) => void,
): (epochMs: number) => string {
  const parts: Part[] = [];
  let end = 0;
  for (const match of format.matchAll(/%(?:([1-9])?f|(.?))/gs)) {
    parts.push(format.slice(end, match.index));
    end = match.index + match[0].length;
    const [text, digits, conversion] = match;
    if (text.endsWith("f")) {
      const count = Number(digits ?? 9);
      parts.push((moment) => padded(moment.nanos, 9).slice(0, count));
    } else if (conversion !== undefined && Object.hasOwn(CONVERSIONS, conversion)) {
      parts.push(CONVERSIONS[conversion] ?? "");
    } else fail(`time conversion ${text} is not supported`);
  }
  parts.push(format.slice(end));
  return (epochMs) => {
    const moment = takenApart(epochMs);
    let out = "";
    for (const part of parts) out += typeof part === "string" ? part : part(moment);
    return out;
  };
}

/** Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days. */
function takenApart(epochMs: number): Moment {
  const epochSeconds = Math.floor(epochMs / 1000);
  const days = Math.floor(epochMs / MS_PER_DAY);
  const ofDay = epochSeconds - days * 86_400;
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const fromMarch =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * fromMarch + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  return {
    epochSeconds,
    nanos: Math.floor((epochMs - epochSeconds * 1000) * 1e6),
    year,
    month,
    day: fromMarch - Math.floor((153 * monthFromMarch + 2) / 5) + 1,
    dayOfYear: month > 2 ? fromMarch + 60 + (isLeap ? 1 : 0) : fromMarch - 305,
    weekday: (((days + 4) % 7) + 7) % 7,
    hour: Math.floor(ofDay / 3600),
    minute: Math.floor(ofDay / 60) % 60,
    second: ofDay % 60,
  };
}

import { formatDurationMs } from "../../base/index.ts";

/** One side of the split, as its sidecars report it. */
export interface ArmRow {
  readonly role: "primary" | "canary";
  /** Version of the image it runs: after a promotion the primary runs the new one. */
  readonly version: string;
  readonly weightPercent: number;
  /** Undefined where nothing was received lately; so are the others. */
  readonly requestsPerSecond: number | undefined;
  readonly successRate: number | undefined;
  readonly p99Ms: number | undefined;
}

/** What the terminal shows. */
export interface ViewModel {
  readonly elapsedMs: number;
  readonly phase: string;
  readonly arms: readonly ArmRow[];
  /** As measured by the load client in the last seconds; failures since the start. */
  readonly client: {
    readonly requestsPerSecond: number;
    readonly requests: number;
    readonly failures: number;
    readonly requestsByVersion: Readonly<Record<string, number>>;
  };
  /** What happened, oldest first. */
  readonly news: readonly { readonly atMs: number; readonly line: string }[];
  readonly hints: readonly string[];
}

export interface ViewSize {
  readonly columns: number;
  readonly rows: number;
  readonly isColor: boolean;
}

type Paint = (text: string) => string;
/** The table of figures needs this much; a narrower terminal wraps it. */
const NARROWEST = 56;

/**
 * The view as lines of at most `columns` (56 or more) characters and at most `rows` lines (no line end after the
 * last). The news take what room the rest leaves; hints go first where it is tight.
 */
export function renderView(model: ViewModel, size: ViewSize): string {
  const columns = Math.max(NARROWEST, size.columns);
  const paint = (code: string): Paint =>
    size.isColor ? (text) => `\u001b[${code}m${text}\u001b[0m` : (text) => text;
  const fit = (text: string): string =>
    text.length > columns ? `${text.slice(0, columns - 1)}…` : text;
  const clock = formatSeconds(model.elapsedMs);
  const title = "Serin  canary default/reviews";
  const top = [
    paint("1")(title + clock.padStart(columns - title.length)),
    "",
    `Phase    ${paint(phaseColor(model.phase))(model.phase)}`,
    ...model.arms.map((arm) => barLine(arm, columns, paint)),
    "",
    paint("2")(
      fit(
        `${"".padEnd(14)}${"weight".padStart(8)}${"req/s".padStart(10)}${"success".padStart(12)}${"P99".padStart(10)}`,
      ),
    ),
    ...model.arms.map((arm) => armLine(arm, paint)),
    ...clientLines(model.client).map(fit),
    "",
  ];
  const hints =
    model.hints.length === 0 ? [] : ["", ...model.hints.map((hint) => paint("2")(fit(hint)))];
  const bottom = top.length + hints.length + 2 <= size.rows ? hints : [];
  const room = Math.max(0, size.rows - top.length - bottom.length);
  const news = model.news
    .slice(Math.max(0, model.news.length - room))
    .map(({ atMs, line }) => fit(`${formatSeconds(atMs).padStart(7)}  ${line}`));
  return [...top, ...(room === 0 ? [] : news), ...bottom].slice(0, size.rows).join("\n");
}

/** Whole seconds: `0s`, `1m5s`. */
function formatSeconds(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  return seconds === 0 ? "0s" : formatDurationMs(seconds * 1000);
}

function phaseColor(phase: string): string {
  if (phase === "Succeeded" || phase === "Initialized") return "32";
  return phase === "Failed" ? "31" : "33";
}

function barLine(arm: ArmRow, columns: number, paint: (code: string) => Paint): string {
  const width = Math.min(60, columns - 22);
  const filled = Math.round((arm.weightPercent / 100) * width);
  const bar = paint(arm.role === "canary" ? "33" : "32")("█".repeat(filled));
  return `${nameOf(arm)}${bar}${"░".repeat(width - filled)} ${String(arm.weightPercent).padStart(4)} %`;
}

function armLine(arm: ArmRow, paint: (code: string) => Paint): string {
  const number = (value: number | undefined, digits: number, unit: string, width: number): string =>
    (value === undefined ? "-" : `${value.toFixed(digits)}${unit}`).padStart(width);
  const success = number(arm.successRate, 2, " %", 12);
  const isBad = arm.successRate !== undefined && arm.successRate < 99;
  return (
    nameOf(arm) +
    `${arm.weightPercent} %`.padStart(8) +
    number(arm.requestsPerSecond, 1, "", 10) +
    (isBad ? paint("31")(success) : success) +
    number(arm.p99Ms, 0, " ms", 10)
  );
}

function nameOf({ role, version }: ArmRow): string {
  return `${role.padEnd(9)}${version.slice(0, 4).padEnd(5)}`;
}

function clientLines(client: ViewModel["client"]): string[] {
  const total = Object.values(client.requestsByVersion).reduce((sum, count) => sum + count, 0);
  const shares = Object.entries(client.requestsByVersion)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([version, count]) => `${version} ${Math.round((count / total) * 100)} %`)
    .join(", ");
  return [
    `clients       ${client.requestsPerSecond.toFixed(1).padStart(18)}` +
      `   ${client.failures} of ${client.requests} failed${shares === "" ? "" : `; served by ${shares}`}`,
  ];
}

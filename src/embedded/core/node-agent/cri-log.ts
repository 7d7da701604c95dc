/** One line of a container's log file, in the CRI format: `<RFC 3339> stdout F <text>`. */
export interface LogLine {
  readonly timestamp: string;
  readonly stream: "stdout" | "stderr";
  /** False for a piece of a line that goes on in the next record (tag P). */
  readonly isWhole: boolean;
  readonly text: string;
}

export function formatLogLine(line: LogLine): string {
  return `${line.timestamp} ${line.stream} ${line.isWhole ? "F" : "P"} ${line.text}\n`;
}

/** Reads a line without its line feed; undefined when it is torn or not CRI's. */
export function parseLogLine(line: string): LogLine | undefined {
  const match = /^(\S+) (stdout|stderr) ([FP]) (.*)$/s.exec(line);
  if (match === null) return undefined;
  const [, timestamp = "", stream, tag, text = ""] = match;
  return {
    timestamp,
    stream: stream === "stderr" ? "stderr" : "stdout",
    isWhole: tag === "F",
    text,
  };
}

/** What `kubectl logs` prints of a line. */
export function printLogLine(line: LogLine, withTimestamp: boolean): string {
  return `${withTimestamp ? `${line.timestamp} ` : ""}${line.text}${line.isWhole ? "\n" : ""}`;
}

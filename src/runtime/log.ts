import { type Logger, pino } from "pino";

export type { Logger };

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/**
 * A JSON-lines logger on stderr, so that stdout stays for answers. `name` is the process or area.
 * Messages are constant and lower case; variables are fields.
 */
export function createLogger(name: string, level: LogLevel = "info"): Logger {
  return pino({ name, level, base: { name } }, pino.destination({ dest: 2, sync: true }));
}

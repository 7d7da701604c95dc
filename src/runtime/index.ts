/** Process I/O for shells only: clock, log, shutdown. */
export { type Clock, systemClock } from "./clock.ts";
export { createLogger, type Logger, type LogLevel } from "./log.ts";

/** What a command gets from the process, so that tests can own it. */
export interface CommandIo {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly env: NodeJS.ProcessEnv;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** One verb of the `serin` binary. */
export interface CommandSpec {
  readonly name: string;
  /** One line for `serin --help`. */
  readonly summary: string;
  /** The whole text of `serin NAME --help`. */
  readonly help: string;
  /** Answers the exit code: 0 done, 1 the answer is no, 2 wrong usage or unreadable input. */
  run(args: string[], io: CommandIo): Promise<number>;
}

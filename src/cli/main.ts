import { messageOf, SerinError } from "../base/index.ts";
import type { CommandIo, CommandSpec } from "./command.ts";

/** Every verb. Loaded on demand: the proxy must never pay for the controller's libraries. */
const COMMANDS: Readonly<Record<string, () => Promise<{ command: CommandSpec }>>> = {
  up: () => import("./commands/up.ts"),
  demo: () => import("./commands/demo.ts"),
  "control-plane": () => import("./commands/control-plane.ts"),
  get: () => import("./commands/get.ts"),
  proxy: () => import("./commands/proxy.ts"),
  "proxy-config": () => import("./commands/proxy-config.ts"),
  "proxy-status": () => import("./commands/proxy-status.ts"),
  install: () => import("./commands/install.ts"),
  upgrade: () => import("./commands/upgrade.ts"),
  uninstall: () => import("./commands/uninstall.ts"),
  authn: () => import("./commands/authn.ts"),
  authz: () => import("./commands/authz.ts"),
  describe: () => import("./commands/describe.ts"),
  explain: () => import("./commands/explain.ts"),
  analyze: () => import("./commands/analyze.ts"),
  check: () => import("./commands/check.ts"),
  dashboard: () => import("./commands/dashboard.ts"),
  "bug-report": () => import("./commands/bug-report.ts"),
  validate: () => import("./commands/validate.ts"),
  inject: () => import("./commands/inject.ts"),
  init: () => import("./commands/init.ts"),
  completion: async () => {
    const { createCommand } = await import("./commands/completion.ts");
    return { command: createCommand(loadAll, ALIASES) };
  },
  version: () => import("./commands/version.ts"),
};

/** Other names for commands: istioctl's. */
const ALIASES: Readonly<Record<string, string>> = {
  ps: "proxy-status",
  pc: "proxy-config",
  "kube-inject": "inject",
};

const USAGE_CODES: readonly string[] = [
  "SERIN_USAGE",
  "SERIN_UNREADABLE_INPUT",
  "SERIN_INVALID_BOOTSTRAP",
  "SERIN_PORT_IN_USE",
  "SERIN_PERMISSION",
  "SERIN_DATA_DIR",
];

/** Runs one command line and ends the process with its exit code. */
export async function main(args: string[]): Promise<void> {
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      abort.abort(signal);
      // A second signal means it: the default action ends the process.
    });
  }
  const io: CommandIo = {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: abort.signal,
  };
  process.exitCode = await run(args, io);
  // Open handles of a finished command must not keep the process.
  await flushed(process.stdout);
  await flushed(process.stderr);
  process.exit();
}

/** As `main`, but answers the exit code: the one place where errors become exit codes. */
export async function run(args: string[], io: CommandIo): Promise<number> {
  const [name, ...rest] = args;
  try {
    if (name === undefined || name === "--help" || name === "-h" || name === "help") {
      return await help(rest[0], io);
    }
    if (name === "--version") return await run(["version", ...rest], io);
    // istioctl keeps some of these verbs behind a word of its own.
    if ((name === "x" || name === "experimental") && rest.length > 0) return await run(rest, io);
    const command = await load(name);
    if (rest.includes("--help") || rest.includes("-h")) {
      io.stdout.write(command.help);
      return 0;
    }
    return await command.run(rest, io);
  } catch (error) {
    return report(error, io);
  }
}

function report(error: unknown, io: CommandIo): number {
  if (!(error instanceof SerinError)) {
    io.stderr.write(`serin: ${error instanceof Error ? error.stack : String(error)}\n`);
    return 1;
  }
  io.stderr.write(`serin: ${messageOf(error)}\n`);
  if (error.code === "SERIN_USAGE") io.stderr.write("Run `serin --help` for what there is.\n");
  return USAGE_CODES.includes(error.code) ? 2 : 1;
}

async function load(name: string): Promise<CommandSpec> {
  const full = (Object.hasOwn(ALIASES, name) ? ALIASES[name] : undefined) ?? name;
  const loader = Object.hasOwn(COMMANDS, full) ? COMMANDS[full] : undefined;
  if (loader === undefined) {
    const known = Object.keys(COMMANDS).join(", ");
    throw new SerinError(
      "SERIN_USAGE",
      `unknown command ${JSON.stringify(name)} (known: ${known})`,
      {
        source: "caller",
      },
    );
  }
  return (await loader()).command;
}

function loadAll(): Promise<readonly CommandSpec[]> {
  return Promise.all(Object.values(COMMANDS).map(async (loader) => (await loader()).command));
}

async function help(name: string | undefined, io: CommandIo): Promise<number> {
  if (name !== undefined) {
    io.stdout.write((await load(name)).help);
    return 0;
  }
  const rows: string[] = [];
  for (const command of await loadAll()) {
    rows.push(`  ${command.name.padEnd(13)} ${command.summary}`);
  }
  io.stdout.write(`Serin: progressive delivery with the mesh included.

Usage: serin COMMAND [flags]

Commands:
${rows.join("\n")}

Run \`serin COMMAND --help\` for a command's flags.
Exit codes: 0 done; 1 the answer is no; 2 wrong usage or unreadable input.
`);
  return 0;
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write("", () => resolve()));
}

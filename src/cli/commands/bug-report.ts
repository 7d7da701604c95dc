import { writeFileSync } from "node:fs";
import { RESOURCES } from "../../api/index.ts";
import { messageOf, SerinError } from "../../base/index.ts";
import { systemClock } from "../../runtime/index.ts";
import { tarGz } from "../bug-report/archive.ts";
import { collect } from "../bug-report/collect.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { clusterStore } from "../kubeconfig.ts";
import { serinVersion } from "../serin-version.ts";
import { parseFlags, usageError } from "../usage.ts";

const help = `Writes what helps to find out what is wrong into one .tar.gz: versions, resources, the control plane's
debug pages, proxies' configuration and statistics, logs. Secrets are left out, and keys, tokens and
passwords are redacted; read it before giving it away nevertheless.

Usage:
  serin bug-report [flags]

Flags:
      --filename FILE            where to write (default bug-report.tar.gz)
      --include NAMESPACES       pods and resources of these only, comma-separated, with * (default all)
      --exclude NAMESPACES       not of these, likewise (default kube-system,kube-public,kube-node-lease)
      --log-lines N              of each container (default 5000)
      --control-plane HOST:PORT  its debug port; else as the cluster says, else its pod's (kubectl port-forward)
      --kubeconfig FILE          default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help                     this text

Exit codes: 0 written (errors.txt in it says what could not be had); 1 the API does not answer; 2 wrong usage.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const text = { type: "string" } as const;
  const { values } = parseFlags(args, {
    ...{ kubeconfig: text, "control-plane": text },
    filename: { type: "string", default: "bug-report.tar.gz" },
    include: { type: "string", default: "*" },
    exclude: { type: "string", default: "kube-system,kube-public,kube-node-lease" },
    "log-lines": { type: "string", default: "5000" },
  });
  if (!/^\d{1,7}$/.test(values["log-lines"])) {
    throw usageError(`--log-lines must be a number (found ${values["log-lines"]})`);
  }
  const [included, excluded] = [patternOf(values.include), patternOf(values.exclude)];
  const store = clusterStore(values.kubeconfig, io.env);
  // Fails at once when there is nobody to ask.
  await store.list(RESOURCES.namespace);
  const files = await collect({
    store,
    access: { kubeconfig: values.kubeconfig, env: io.env },
    controlPlane: values["control-plane"],
    isIncluded: (namespace) => included.test(namespace) && !excluded.test(namespace),
    logLines: Number(values["log-lines"]),
  });
  const { node } = process.versions;
  const about = `serin ${serinVersion()}\nNode ${node}, ${process.platform}/${process.arch}\n`;
  const all = [{ path: "versions.txt", text: about }, ...files].map(({ path, text: content }) => ({
    path: `bug-report/${path}`,
    text: content,
  }));
  write(values.filename, tarGz(all, systemClock.nowMs() / 1000));
  io.stdout.write(`${values.filename}: ${all.length} files\n`);
  return 0;
}

/** Names, comma-separated, with `*`. */
function patternOf(names: string): RegExp {
  const parts = names
    .split(",")
    .map((name) => name.trim().replaceAll(/[\\^$.+?()[\]{}|]/g, String.raw`\$&`))
    .filter((name) => name !== "")
    .map((name) => name.replaceAll("*", ".*"));
  return parts.length === 0 ? /^(?!)/ : new RegExp(`^(?:${parts.join("|")})$`);
}

function write(path: string, archive: Buffer): void {
  try {
    writeFileSync(path, archive, { mode: 0o600 });
  } catch (error) {
    const message = `cannot write ${path}: ${messageOf(error)}`;
    throw new SerinError("SERIN_UNREADABLE_INPUT", message, { source: "caller", cause: error });
  }
}

export const command: CommandSpec = {
  name: "bug-report",
  summary: "write what helps to find a fault into one archive",
  help,
  run,
};

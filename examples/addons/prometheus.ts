/**
 * Runs the machine's own `prometheus` in a pod of `serin up`, with the arguments of the image. Many
 * packages of it are built without Kubernetes, and a process of this machine has no service account
 * directory: each `kubernetes_sd_configs` of `role: pod` becomes an `http_sd_configs` that asks
 * `serin up`, which answers with the same meta labels. Everything else of the configuration stays.
 */
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { parse, stringify } from "yaml";

const CONFIG_FLAG = "--config.file=";
/** How often `serin up` is asked for its pods. */
const REFRESH = "1s";

interface Discovery {
  readonly role?: string;
  readonly namespaces?: { readonly names?: readonly string[] };
  readonly selectors?: readonly { readonly role?: string; readonly label?: string }[];
}
interface ScrapeConfig {
  readonly kubernetes_sd_configs?: readonly Discovery[];
  readonly http_sd_configs?: readonly object[];
  readonly file_sd_configs?: readonly { readonly files?: readonly string[] }[];
}

/** One question for each namespace that is asked for, or one for all. */
function questions({ role, namespaces, selectors = [] }: Discovery, url: string): object[] {
  if (role !== "pod") throw new Error(`only pods are found here, not role: ${role ?? ""}`);
  const label = selectors.find((each) => each.role === "pod")?.label;
  return (namespaces?.names ?? [undefined]).map((namespace) => {
    const asked = new URL(url);
    if (namespace !== undefined) asked.searchParams.set("namespace", namespace);
    if (label !== undefined) asked.searchParams.set("labelSelector", label);
    return { url: asked.href, refresh_interval: REFRESH };
  });
}

/** The configuration in a file of the working directory: that of a ConfigMap is not to be written to. */
function translated(path: string): string {
  const dir = dirname(path);
  const urlFile = join(dir, "pod-discovery-url");
  if (!existsSync(urlFile)) return path;
  const url = readFileSync(urlFile, "utf8").trim();
  const config = parse(readFileSync(path, "utf8")) as { scrape_configs?: readonly ScrapeConfig[] };
  const scrape_configs = (config.scrape_configs ?? []).map(
    ({ kubernetes_sd_configs = [], http_sd_configs = [], ...rest }) => ({
      ...rest,
      http_sd_configs: [
        ...http_sd_configs,
        ...kubernetes_sd_configs.flatMap((each) => questions(each, url)),
      ],
      // Names are relative to the configuration's directory, which is another now.
      file_sd_configs: (rest.file_sd_configs ?? []).map((each) => ({
        ...each,
        files: (each.files ?? []).map((file) => (file.startsWith("/") ? file : join(dir, file))),
      })),
    }),
  );
  const own = join(process.cwd(), "prometheus.yml");
  writeFileSync(own, stringify({ ...config, scrape_configs }));
  return own;
}

function programPath(): string {
  if (process.env["PROMETHEUS_BIN"] !== undefined) return process.env["PROMETHEUS_BIN"];
  for (const dir of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(dir, "prometheus");
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory.
    }
  }
  console.error("there is no prometheus on this machine's PATH: install its package");
  return process.exit(127);
}

const args = process.argv
  .slice(2)
  .map((arg) =>
    arg.startsWith(CONFIG_FLAG)
      ? `${CONFIG_FLAG}${translated(arg.slice(CONFIG_FLAG.length))}`
      : arg,
  );
// In a network namespace of its own a program listens where it likes.
const listen = `--web.listen-address=${process.env["HOST"] ?? "0.0.0.0"}:9090`;
const program = programPath();
const env = Object.fromEntries(
  Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
);
// In place of this process, so that signals and the exit code are Prometheus' own.
process.execve?.(program, [program, listen, ...args], env);

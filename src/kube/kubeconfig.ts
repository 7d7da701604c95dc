import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { parse } from "yaml";
import { issuesOf, messageOf } from "../base/index.ts";
import {
  type KubeconfigCluster,
  type KubeconfigFile,
  type KubeconfigUser,
  kubeconfigSchema,
} from "./kubeconfig-schema.ts";
import { unreadable } from "./unreadable.ts";

const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Where the API is and how to prove who asks. Paths are absolute. */
export interface ApiAccess {
  readonly server: string;
  readonly cluster: KubeconfigCluster;
  readonly user: KubeconfigUser;
  /** For messages: the file or files that it was read from. */
  readonly source: string;
}

export interface KubeconfigOptions {
  /** A file; default: those of KUBECONFIG, else ~/.kube/config, else the pod's service account. */
  readonly path?: string | undefined;
  /** Default: the current context. */
  readonly context?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly home?: string;
  /** Where a pod finds its token. */
  readonly serviceAccountDir?: string;
}

/**
 * Finds the way to the API as kubectl does: several files of KUBECONFIG are merged, and what comes first
 * counts. Throws SERIN_UNREADABLE_INPUT, naming the file and the field.
 */
export function readKubeconfig(options: KubeconfigOptions = {}): ApiAccess {
  const { path, context, env = process.env, home = homedir() } = options;
  if (path !== undefined) return accessOf([readFile(path)], context, path);
  const named = (env["KUBECONFIG"] ?? "").split(delimiter).filter((each) => each !== "");
  if (named.length > 0) {
    // Of several that are named some may not exist (kubectl).
    const there = named.filter((each) => existsSync(each));
    const source = named.join(delimiter);
    if (there.length === 0) throw unreadable(`no such file: ${source} (KUBECONFIG)`);
    return accessOf(there.map(readFile), context, source);
  }
  const usual = join(home, ".kube", "config");
  if (existsSync(usual)) return accessOf([readFile(usual)], context, usual);
  const inCluster = accessOfPod(env, options.serviceAccountDir ?? SERVICE_ACCOUNT_DIR);
  if (inCluster !== undefined && context === undefined) return inCluster;
  throw unreadable(`there is no kubeconfig: KUBECONFIG is not set and ${usual} does not exist`);
}

/** A pod's way to the API: its projected service account. */
function accessOfPod(
  env: NonNullable<KubeconfigOptions["env"]>,
  dir: string,
): ApiAccess | undefined {
  const tokenFile = join(dir, "token");
  const host = env["KUBERNETES_SERVICE_HOST"];
  if (host === undefined || host === "" || !existsSync(tokenFile)) return undefined;
  const authority = host.includes(":") ? `[${host}]` : host;
  const server = `https://${authority}:${env["KUBERNETES_SERVICE_PORT"] ?? "443"}`;
  const file = kubeconfigSchema.parse({
    "current-context": "pod",
    contexts: [{ name: "pod", context: { cluster: "pod", user: "pod" } }],
    clusters: [{ name: "pod", cluster: { server, "certificate-authority": join(dir, "ca.crt") } }],
    users: [{ name: "pod", user: { tokenFile } }],
  });
  return accessOf([file], undefined, dir);
}

function readFile(path: string): KubeconfigFile {
  let document: unknown;
  try {
    if (!existsSync(path)) throw new Error("no such file");
    document = parse(readFileSync(path, "utf8")) ?? {};
  } catch (error) {
    throw unreadable(`cannot read the kubeconfig ${path}: ${messageOf(error)}`, error);
  }
  const parsed = kubeconfigSchema.safeParse(document);
  if (!parsed.success) {
    const issues = issuesOf(parsed.error).map(({ path: at, message }) =>
      at === "" ? message : `${at}: ${message}`,
    );
    throw unreadable(`the kubeconfig ${path}: ${issues.join("; ")}`);
  }
  return withAbsolutePaths(parsed.data, dirname(resolve(path)));
}

/** Paths are meant from where the file is, and so are commands that have a slash in them. */
function withAbsolutePaths(file: KubeconfigFile, dir: string): KubeconfigFile {
  const from = (path: string | null | undefined): string | undefined =>
    path === null || path === undefined || path === "" ? undefined : resolve(dir, path);
  return {
    ...file,
    clusters: file.clusters.map(({ name, cluster }) => ({
      name,
      cluster: cluster && {
        ...cluster,
        "certificate-authority": from(cluster["certificate-authority"]),
      },
    })),
    users: file.users.map(({ name, user }) => ({
      name,
      user: user && {
        ...user,
        "client-certificate": from(user["client-certificate"]),
        "client-key": from(user["client-key"]),
        tokenFile: from(user.tokenFile),
        exec: user.exec && {
          ...user.exec,
          command: user.exec.command?.includes("/") ? from(user.exec.command) : user.exec.command,
        },
      },
    })),
  };
}

function accessOf(
  files: readonly KubeconfigFile[],
  wanted: string | undefined,
  source: string,
): ApiAccess {
  const name = wanted ?? files.map((file) => file["current-context"]).find((each) => each) ?? "";
  const contexts = files.flatMap((file) => file.contexts);
  const context = contexts.find((each) => each.name === name)?.context;
  if (context === undefined || context === null) {
    const known = contexts.map((each) => each.name).join(", ");
    throw unreadable(
      name === ""
        ? `the kubeconfig ${source} has no current-context`
        : `the kubeconfig ${source} has no context ${JSON.stringify(name)} (found ${known || "none"})`,
    );
  }
  const at = `the kubeconfig ${source}: context ${JSON.stringify(name)}`;
  const clusters = files.flatMap((file) => file.clusters);
  const cluster = clusters.find((each) => each.name === context.cluster)?.cluster;
  if (cluster === undefined || cluster === null) {
    throw unreadable(`${at} names no cluster that there is (${context.cluster ?? "none"})`);
  }
  const server = cluster.server ?? "";
  if (!/^https?:\/\//.test(server) || !URL.canParse(server)) {
    const found = JSON.stringify(server);
    throw unreadable(
      `${at}: cluster ${context.cluster}: server must be an http or https URL (found ${found})`,
    );
  }
  const users = files.flatMap((file) => file.users);
  const entry = users.find((each) => each.name === context.user);
  if (entry === undefined && (context.user ?? "") !== "") {
    throw unreadable(`${at} names no user that there is (${context.user})`);
  }
  const user = entry?.user ?? { "as-groups": [] };
  return { server, cluster, user, source };
}

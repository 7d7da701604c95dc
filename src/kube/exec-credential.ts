import { execFile } from "node:child_process";
import { z } from "zod";
import { issuesOf, messageOf } from "../base/index.ts";
import type { Clock } from "../runtime/index.ts";
import type { ApiAccess } from "./kubeconfig.ts";
import type { ExecPlugin } from "./kubeconfig-schema.ts";
import { unreadable } from "./unreadable.ts";

const API_VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/** A plugin may ask a browser; one that hangs must not hang us. */
const TIMEOUT_MS = 120_000;
/** Credentials that end soon are not used: the call takes time too. */
const MARGIN_MS = 5000;
const MAX_OUTPUT_BYTES = 1_048_576;

const answerSchema = z.object({
  apiVersion: z.string(),
  kind: z.literal("ExecCredential"),
  status: z
    .object({
      token: z.string().optional(),
      clientCertificateData: z.string().optional(),
      clientKeyData: z.string().optional(),
      expirationTimestamp: z.iso.datetime({ offset: true }).nullish(),
    })
    .refine((status) => status.token || (status.clientCertificateData && status.clientKeyData), {
      message: "must have a token, or a clientCertificateData with a clientKeyData",
    }),
});

/** What a plugin gave: a bearer token, a client certificate (PEM), or both. */
export interface ExecCredential {
  readonly token?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

/** Asks a credential plugin, and remembers its answer for as long as that is valid. */
export interface ExecCredentials {
  /** Throws SERIN_UNREADABLE_INPUT when the plugin is not there, fails, or answers nonsense. */
  get(): Promise<ExecCredential>;
  /** The server refused it: the next `get` asks the plugin again. */
  refused(): void;
}

/**
 * A credential plugin of a kubeconfig (`users[].user.exec`).
 * Source: kubernetes.io, "client-go credential plugins".
 */
export function createExecCredentials(
  plugin: ExecPlugin,
  access: ApiAccess,
  clock: Clock,
): ExecCredentials {
  let known: { readonly credential: ExecCredential; readonly endsMs: number } | undefined;
  let asking: Promise<ExecCredential> | undefined;
  const ask = async (): Promise<ExecCredential> => {
    const { status } = await run(plugin, access);
    const { token, clientCertificateData: certificate, clientKeyData: key } = status;
    const ends = status.expirationTimestamp;
    const credential = { token, certificate, key };
    known = { credential, endsMs: ends ? Date.parse(ends) : Number.POSITIVE_INFINITY };
    return credential;
  };
  return {
    async get() {
      if (known !== undefined && known.endsMs - MARGIN_MS > clock.nowMs()) return known.credential;
      // Many calls at once ask the plugin once.
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      return await asking;
    },
    refused() {
      known = undefined;
    },
  };
}

async function run(plugin: ExecPlugin, access: ApiAccess): Promise<z.infer<typeof answerSchema>> {
  const at = `the kubeconfig ${access.source}: exec`;
  const { command, apiVersion } = plugin;
  if (!command) throw unreadable(`${at}.command must be set`);
  if (!apiVersion || !API_VERSIONS.includes(apiVersion)) {
    const found = JSON.stringify(apiVersion ?? null);
    throw unreadable(`${at}.apiVersion must be one of ${API_VERSIONS.join(", ")} (found ${found})`);
  }
  if (plugin.interactiveMode === "Always") {
    throw unreadable(`${at}.interactiveMode: Always is not supported: ${command} cannot be asked`);
  }
  const output = await outputOf(plugin, command, infoFor(plugin, access)).catch(
    (error: unknown) => {
      const isAbsent = (error as NodeJS.ErrnoException).code === "ENOENT";
      const hint = isAbsent && plugin.installHint ? `; ${plugin.installHint}` : "";
      throw unreadable(
        `${at}.command ${command}: ${isAbsent ? "not found" : messageOf(error)}${hint}`,
        error,
      );
    },
  );
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch (error) {
    throw unreadable(`${at}.command ${command}: its answer is not JSON`, error);
  }
  const parsed = answerSchema.safeParse(answer);
  if (!parsed.success) {
    const issues = issuesOf(parsed.error).map((issue) => `${issue.path}: ${issue.message}`);
    throw unreadable(`${at}.command ${command}: its answer: ${issues.join("; ")}`);
  }
  if (parsed.data.apiVersion !== apiVersion) {
    const { apiVersion: found } = parsed.data;
    throw unreadable(`${at}.command ${command} answers as ${found}, not ${apiVersion}`);
  }
  return parsed.data;
}

/** What the plugin finds in KUBERNETES_EXEC_INFO. */
function infoFor(plugin: ExecPlugin, { cluster, server }: ApiAccess): object {
  const spec = {
    interactive: false,
    ...(plugin.provideClusterInfo !== true
      ? {}
      : {
          cluster: {
            server,
            "tls-server-name": cluster["tls-server-name"] ?? undefined,
            "insecure-skip-tls-verify": cluster["insecure-skip-tls-verify"] ?? undefined,
            "certificate-authority-data": cluster["certificate-authority-data"] ?? undefined,
            "proxy-url": cluster["proxy-url"] ?? undefined,
          },
        }),
  };
  return { apiVersion: plugin.apiVersion, kind: "ExecCredential", spec };
}

function outputOf(plugin: ExecPlugin, command: string, info: object): Promise<string> {
  const own = plugin.env.map(({ name, value }) => [name, value] as const);
  const env = {
    ...process.env,
    ...Object.fromEntries(own),
    KUBERNETES_EXEC_INFO: JSON.stringify(info),
  };
  return new Promise((resolve, reject) => {
    const limits = { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES };
    const child = execFile(command, [...plugin.args], { env, ...limits }, (error, out, said) => {
      if (error === null) resolve(out);
      else if (error.code === "ENOENT") reject(error);
      else reject(new Error(said.trim().slice(0, 500) || error.message, { cause: error }));
    });
    child.stdin?.end();
  });
}

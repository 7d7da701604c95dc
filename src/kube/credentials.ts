import { readFileSync } from "node:fs";
import type { AgentOptions } from "node:https";
import { messageOf } from "../base/index.ts";
import type { Clock } from "../runtime/index.ts";
import { createExecCredentials } from "./exec-credential.ts";
import type { ApiAccess } from "./kubeconfig.ts";
import { unreadable } from "./unreadable.ts";

/** What a connection to the API must be opened with, and a request carry. */
export interface Credentials {
  readonly tls: Pick<AgentOptions, "ca" | "cert" | "key" | "servername" | "rejectUnauthorized">;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
}

/** The credentials of one kubeconfig, read anew for each call: files and tokens rotate. */
export interface CredentialSource {
  /** Throws SERIN_UNREADABLE_INPUT naming the file or plugin that gives none. */
  get(): Promise<Credentials>;
  /** The server answered 401; whether asking again may give others. */
  refused(): boolean;
}

/** Throws SERIN_UNREADABLE_INPUT for ways to prove oneself that Serin does not know. */
export function createCredentials(access: ApiAccess, clock: Clock): CredentialSource {
  const { cluster, user, source } = access;
  const isTls = access.server.startsWith("https:");
  const plugin = user.exec ? createExecCredentials(user.exec, access, clock) : undefined;
  const provider = user["auth-provider"]?.name;
  if (provider !== undefined) {
    throw unreadable(
      `the kubeconfig ${source}: auth-provider ${JSON.stringify(provider)} is not supported; ` +
        "use a credential plugin (exec) in its place, as kubectl does",
    );
  }
  return {
    async get() {
      const given = isTls ? await plugin?.get() : undefined;
      const token = given?.token ?? tokenOf(access);
      const tls = {
        ca: materialOf(access, "certificate-authority", cluster),
        cert: given?.certificate ?? materialOf(access, "client-certificate", user),
        key: given?.key ?? materialOf(access, "client-key", user),
        servername: cluster["tls-server-name"] || undefined,
        rejectUnauthorized: cluster["insecure-skip-tls-verify"] === true ? false : undefined,
      };
      return {
        tls: isTls ? tls : {},
        // Over plain text a secret would be for everybody to read.
        headers: { ...(isTls ? authorization(access, token) : {}), ...impersonation(access) },
      };
    },
    refused() {
      plugin?.refused();
      return plugin !== undefined;
    },
  };
}

/** The file counts, because it is what rotates; the text is there for those that cannot read it. */
function tokenOf(access: ApiAccess): string | undefined {
  const { tokenFile, token } = access.user;
  if (tokenFile) return readText(access, tokenFile).trim() || undefined;
  return token || undefined;
}

function authorization(access: ApiAccess, token: string | undefined): Credentials["headers"] {
  const { username, password } = access.user;
  if (token !== undefined) return { authorization: `Bearer ${token}` };
  if (!username) return {};
  const pair = Buffer.from(`${username}:${password ?? ""}`).toString("base64");
  return { authorization: `Basic ${pair}` };
}

/** Source: kubernetes.io, "User impersonation". */
function impersonation({ user }: ApiAccess): Credentials["headers"] {
  if (!user.as) return {};
  const extra = Object.entries(user["as-user-extra"] ?? {}).map(
    ([key, values]) => [`impersonate-extra-${encodeURIComponent(key)}`, values] as const,
  );
  return {
    "impersonate-user": user.as,
    ...(user["as-uid"] ? { "impersonate-uid": user["as-uid"] } : {}),
    ...(user["as-groups"].length > 0 ? { "impersonate-group": user["as-groups"] } : {}),
    ...Object.fromEntries(extra),
  };
}

type Material = "certificate-authority" | "client-certificate" | "client-key";

/** PEM text: of the `-data` field (base64) or of the file. */
function materialOf(
  access: ApiAccess,
  field: Material,
  from: Readonly<Record<string, unknown>>,
): string | undefined {
  const data = from[`${field}-data`];
  if (typeof data === "string" && data !== "") {
    const pem = Buffer.from(data, "base64").toString("utf8");
    if (pem.includes("-----BEGIN")) return pem;
    throw unreadable(`the kubeconfig ${access.source}: ${field}-data must be base64 of PEM`);
  }
  const path = from[field];
  return typeof path === "string" ? readText(access, path) : undefined;
}

function readText({ source }: ApiAccess, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(`the kubeconfig ${source} names ${path}: ${messageOf(error)}`, error);
  }
}

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  randomUUID,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isObject, type JsonObject, numberAt, stringAt } from "../core/api/json.ts";
import { writePrivateFile } from "./private-file.ts";

/** Who sent a request. */
export interface User {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  /** Pod bindings of a service account token (`authentication.kubernetes.io/pod-name`). */
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** The audience of the API server itself, and the issuer of its tokens. */
export const API_AUDIENCE = "https://kubernetes.default.svc.cluster.local";

export const ADMIN: User = {
  name: "kubernetes-admin",
  uid: "",
  groups: ["system:masters", "system:authenticated"],
  extra: {},
};

/** The built-in controllers and the node agent. */
export const SYSTEM: User = { ...ADMIN, name: "system:serin" };

/** What a service account token says, after its signature and times were checked. */
export interface ServiceAccountClaims {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly audiences: readonly string[];
}

/** The administrator's bearer token and the key that signs service account tokens. */
export class Credentials {
  readonly adminToken: string;
  readonly #key: KeyObject;
  readonly #publicKey: KeyObject;

  /** Reads them from `pkiDir`, or makes them on first start. */
  constructor(pkiDir: string) {
    this.adminToken = loadOrCreate(join(pkiDir, "admin.token"), () =>
      randomBytes(32).toString("base64url"),
    ).trim();
    this.#key = createPrivateKey(
      loadOrCreate(join(pkiDir, "service-account.key"), () =>
        generateKeyPairSync("ec", { namedCurve: "P-256" })
          .privateKey.export({ type: "pkcs8", format: "pem" })
          .toString(),
      ),
    );
    this.#publicKey = createPublicKey(this.#key);
  }

  isAdminToken(token: string): boolean {
    const [given, expected] = [Buffer.from(token), Buffer.from(this.adminToken)];
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  /** A JWT (ES256) with Kubernetes' claims (KEP-1205, bound service account tokens). */
  issue(
    claims: Omit<ServiceAccountClaims, "audiences">,
    options: {
      readonly audiences: readonly string[];
      readonly expirationSeconds: number;
      readonly nowMs: number;
    },
  ): string {
    const nowSeconds = Math.floor(options.nowMs / 1000);
    const payload = {
      aud: options.audiences,
      exp: nowSeconds + options.expirationSeconds,
      iat: nowSeconds,
      iss: API_AUDIENCE,
      jti: randomUUID(),
      nbf: nowSeconds,
      sub: `system:serviceaccount:${claims.namespace}:${claims.serviceAccount.name}`,
      "kubernetes.io": {
        namespace: claims.namespace,
        serviceaccount: claims.serviceAccount,
        ...(claims.pod === undefined ? {} : { pod: claims.pod }),
      },
    };
    const head = encode({ alg: "ES256", typ: "JWT" });
    const body = `${head}.${encode(payload)}`;
    const signature = sign("sha256", Buffer.from(body), {
      key: this.#key,
      dsaEncoding: "ieee-p1363",
    });
    return `${body}.${signature.toString("base64url")}`;
  }

  /** The claims of a token of ours that is in its time; undefined for anything else. */
  verify(token: string, nowMs: number): ServiceAccountClaims | undefined {
    const [head, payload, signature, ...rest] = token.split(".");
    if (head === undefined || payload === undefined || signature === undefined || rest.length > 0) {
      return undefined;
    }
    const header = decode(head);
    if (stringAt(header, "alg") !== "ES256") return undefined;
    const valid = verify(
      "sha256",
      Buffer.from(`${head}.${payload}`),
      { key: this.#publicKey, dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64url"),
    );
    return valid ? claimsOf(decode(payload), nowMs) : undefined;
  }
}

function claimsOf(
  payload: JsonObject | undefined,
  nowMs: number,
): ServiceAccountClaims | undefined {
  const expires = numberAt(payload, "exp") ?? 0;
  const notBefore = numberAt(payload, "nbf") ?? 0;
  if (stringAt(payload, "iss") !== API_AUDIENCE) return undefined;
  if (nowMs >= expires * 1000 || nowMs < notBefore * 1000) return undefined;
  const namespace = stringAt(payload, "kubernetes.io", "namespace");
  const name = stringAt(payload, "kubernetes.io", "serviceaccount", "name");
  const uid = stringAt(payload, "kubernetes.io", "serviceaccount", "uid");
  const audiences = payload?.["aud"];
  if (namespace === undefined || name === undefined || uid === undefined) return undefined;
  const podName = stringAt(payload, "kubernetes.io", "pod", "name");
  const podUid = stringAt(payload, "kubernetes.io", "pod", "uid");
  return {
    namespace,
    serviceAccount: { name, uid },
    ...(podName === undefined || podUid === undefined
      ? {}
      : { pod: { name: podName, uid: podUid } }),
    audiences: Array.isArray(audiences) ? audiences.map(String) : [String(audiences)],
  };
}

/** The user that a service account is. */
export function serviceAccountUser(claims: ServiceAccountClaims): User {
  return {
    name: `system:serviceaccount:${claims.namespace}:${claims.serviceAccount.name}`,
    uid: claims.serviceAccount.uid,
    groups: [
      "system:serviceaccounts",
      `system:serviceaccounts:${claims.namespace}`,
      "system:authenticated",
    ],
    extra:
      claims.pod === undefined
        ? {}
        : {
            "authentication.kubernetes.io/pod-name": [claims.pod.name],
            "authentication.kubernetes.io/pod-uid": [claims.pod.uid],
          },
  };
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function decode(part: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // not JSON: not a token of ours
  }
}

function loadOrCreate(path: string, create: () => string): string {
  if (!existsSync(path)) writePrivateFile(path, create());
  return readFileSync(path, "utf8");
}

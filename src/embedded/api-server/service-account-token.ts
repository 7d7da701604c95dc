import { invalidValue, notSupported } from "../core/api/field-error.ts";
import { arrayAt, isObject, type JsonObject, numberAt, stringAt } from "../core/api/json.ts";
import { badRequest, invalid, notFound } from "../core/api/status-error.ts";
import { API_AUDIENCE, type Credentials } from "./credentials.ts";
import type { Storage } from "./storage.ts";
import { timestamp } from "./timestamp.ts";

const ACCOUNTS = { group: "", plural: "serviceaccounts", kind: "ServiceAccount" };
const PODS = { group: "", plural: "pods", kind: "Pod" };
const MIN_SECONDS = 600;
const DEFAULT_SECONDS = 3600;
const MAX_SECONDS = 2 ** 32;

export interface TokenOptions {
  readonly audiences: readonly string[];
  readonly expirationSeconds: number;
  readonly podName?: string;
  readonly podUid?: string;
}

/** Issues a token for a service account, bound to a pod if one is named. Throws StatusError 404, 409. */
export function issueToken(
  key: { readonly namespace: string; readonly name: string },
  options: TokenOptions,
  context: { readonly credentials: Credentials; readonly storage: Storage; readonly nowMs: number },
): string {
  const account = context.storage.get(ACCOUNTS, key.namespace, key.name);
  if (account === undefined) throw notFound(ACCOUNTS, key.name);
  const claims = {
    namespace: key.namespace,
    serviceAccount: { name: key.name, uid: account.metadata.uid ?? "" },
  };
  const audiences = options.audiences.length === 0 ? [API_AUDIENCE] : options.audiences;
  const { expirationSeconds } = options;
  const lifetime = { audiences, expirationSeconds, nowMs: context.nowMs };
  if (options.podName === undefined) return context.credentials.issue(claims, lifetime);
  const pod = context.storage.get(PODS, key.namespace, options.podName);
  const uid = pod?.metadata.uid;
  if (uid === undefined || (options.podUid !== undefined && options.podUid !== uid)) {
    throw notFound(PODS, options.podName);
  }
  return context.credentials.issue({ ...claims, pod: { name: options.podName, uid } }, lifetime);
}

/** Answers POST serviceaccounts/NAME/token (authentication.k8s.io/v1 TokenRequest). */
export function answerTokenRequest(
  key: { readonly namespace: string; readonly name: string },
  body: unknown,
  context: { readonly credentials: Credentials; readonly storage: Storage; readonly nowMs: number },
): JsonObject {
  if (!isObject(body)) throw badRequest("the body of the request must be a TokenRequest");
  const seconds = numberAt(body, "spec", "expirationSeconds") ?? DEFAULT_SECONDS;
  const field = "spec.expirationSeconds";
  const problems = [
    ...(seconds < MIN_SECONDS
      ? [invalidValue(field, seconds, "may not specify a duration less than 10 minutes")]
      : []),
    ...(seconds > MAX_SECONDS
      ? [invalidValue(field, seconds, "may not specify a duration larger than 2^32 seconds")]
      : []),
  ];
  const boundKind = stringAt(body, "spec", "boundObjectRef", "kind");
  if (boundKind !== undefined && boundKind !== "Pod") {
    problems.push(notSupported("spec.boundObjectRef.kind", boundKind, ["Pod"]));
  }
  if (problems.length > 0) {
    throw invalid({ group: "authentication.k8s.io", kind: "TokenRequest" }, key.name, problems);
  }
  const audiences = arrayAt(body, "spec", "audiences").map(String);
  const podName = stringAt(body, "spec", "boundObjectRef", "name");
  const podUid = stringAt(body, "spec", "boundObjectRef", "uid");
  const options: TokenOptions = {
    audiences,
    expirationSeconds: seconds,
    ...(podName === undefined ? {} : { podName }),
    ...(podUid === undefined ? {} : { podUid }),
  };
  const token = issueToken(key, options, context);
  return {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { name: key.name, namespace: key.namespace },
    spec: {
      audiences: audiences.length === 0 ? [API_AUDIENCE] : audiences,
      expirationSeconds: seconds,
    },
    status: { token, expirationTimestamp: timestamp(context.nowMs + seconds * 1000) },
  };
}

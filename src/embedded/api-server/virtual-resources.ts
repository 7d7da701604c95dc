import type { VirtualResource } from "../core/api/discovery.ts";
import { arrayAt, isObject, type JsonObject, objectAt, stringAt } from "../core/api/json.ts";
import { badRequest } from "../core/api/status-error.ts";
import { mayDo } from "./authorization.ts";
import { API_AUDIENCE, type Credentials, serviceAccountUser, type User } from "./credentials.ts";
import type { Storage } from "./storage.ts";

const AUTHENTICATION = "authentication.k8s.io";
const AUTHORIZATION = "authorization.k8s.io";

/** Resources that are questions: posted, answered, not stored. */
export const VIRTUAL_RESOURCES: readonly VirtualResource[] = [
  {
    group: AUTHENTICATION,
    version: "v1",
    kind: "TokenReview",
    plural: "tokenreviews",
    namespaced: false,
  },
  {
    group: AUTHENTICATION,
    version: "v1",
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    namespaced: false,
  },
  {
    group: AUTHORIZATION,
    version: "v1",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    namespaced: false,
  },
];

/** Answers a posted question; throws StatusError 400 when it is none. */
export function answerVirtual(
  resource: VirtualResource,
  body: unknown,
  context: {
    readonly user: User;
    readonly credentials: Credentials;
    readonly storage: Storage;
    readonly nowMs: number;
  },
): JsonObject {
  if (!isObject(body)) throw badRequest("the body of the request must be an object");
  const head = {
    kind: resource.kind,
    apiVersion: `${resource.group}/${resource.version}`,
    metadata: { creationTimestamp: null },
  };
  const spec = objectAt(body, "spec") ?? {};
  switch (resource.kind) {
    case "TokenReview":
      return { ...head, spec, status: reviewToken(spec, context) };
    case "SelfSubjectReview":
      return { ...head, status: { userInfo: userInfo(context.user) } };
    default: {
      const attributes = objectAt(spec, "resourceAttributes");
      const verb = stringAt(attributes ?? objectAt(spec, "nonResourceAttributes"), "verb") ?? "";
      const allowed = mayDo(context.user, { verb, plural: stringAt(attributes, "resource") ?? "" });
      return { ...head, spec, status: { allowed } };
    }
  }
}

function userInfo(user: User): JsonObject {
  return {
    username: user.name,
    ...(user.uid === "" ? {} : { uid: user.uid }),
    groups: user.groups,
    ...(Object.keys(user.extra).length === 0 ? {} : { extra: user.extra }),
  };
}

/** authentication.k8s.io TokenReview: a token counts only for one of the audiences asked for. */
function reviewToken(
  spec: JsonObject,
  context: { readonly credentials: Credentials; readonly storage: Storage; readonly nowMs: number },
): JsonObject {
  const token = stringAt(spec, "token") ?? "";
  const asked = arrayAt(spec, "audiences").map(String);
  const wanted = asked.length === 0 ? [API_AUDIENCE] : asked;
  const user = authenticateServiceAccount(token, wanted, context);
  if (user === undefined) {
    return { authenticated: false, user: {}, error: "invalid bearer token" };
  }
  return { authenticated: true, user: userInfo(user.user), audiences: user.audiences };
}

/**
 * Who a service account token stands for: signature, time, audience, and that the account (and the
 * pod it is bound to) are still the ones it was issued for.
 */
export function authenticateServiceAccount(
  token: string,
  wanted: readonly string[],
  context: { readonly credentials: Credentials; readonly storage: Storage; readonly nowMs: number },
): { readonly user: User; readonly audiences: readonly string[] } | undefined {
  const claims = context.credentials.verify(token, context.nowMs);
  if (claims === undefined) return undefined;
  const audiences = wanted.filter((audience) => claims.audiences.includes(audience));
  if (audiences.length === 0) return undefined;
  const { storage } = context;
  const accounts = { group: "", plural: "serviceaccounts" };
  const account = storage.get(accounts, claims.namespace, claims.serviceAccount.name);
  if (account?.metadata.uid !== claims.serviceAccount.uid) return undefined;
  if (claims.pod !== undefined) {
    const pod = storage.get({ group: "", plural: "pods" }, claims.namespace, claims.pod.name);
    if (pod?.metadata.uid !== claims.pod.uid) return undefined;
  }
  return { user: serviceAccountUser(claims), audiences };
}

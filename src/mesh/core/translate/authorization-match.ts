import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationSource,
} from "../../../api/index.ts";
import type { MessageTypes } from "../../../xds/index.ts";

type Permission = MessageTypes["envoy.config.rbac.v3.Permission"];
type Principal = MessageTypes["envoy.config.rbac.v3.Principal"];
type StringMatcher = MessageTypes["envoy.type.matcher.v3.StringMatcher"];
type MetadataMatcher = MessageTypes["envoy.type.matcher.v3.MetadataMatcher"];
type CidrRange = MessageTypes["envoy.config.core.v3.CidrRange"];

const JWT = "envoy.filters.http.jwt_authn";
/** The key of the payload in the JWT filter's metadata. */
export const JWT_PAYLOAD = "payload";

/** What a list of fields means: tests that must all hold, some of which only HTTP can answer. */
export interface Tests<Test> {
  readonly tests: readonly Test[];
  readonly needsHttp: boolean;
}

interface Place {
  /** Of the policy: short service account names are completed by it. */
  readonly namespace: string;
  readonly trustDomain: string;
}

/** Exact, `prefix*`, `*suffix`, or `*` for anything that is there (Istio's value matching). */
export function stringMatcher(value: string): StringMatcher {
  if (value === "*") return { safe_regex: { regex: ".+" } };
  if (value.endsWith("*")) return { prefix: value.slice(0, -1) };
  if (value.startsWith("*")) return { suffix: value.slice(1) };
  return { exact: value };
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const regex = (pattern: string): StringMatcher => ({ safe_regex: { regex: pattern } });

function cidr(block: string): CidrRange {
  const [address_prefix = "", length] = block.split("/");
  const whole = address_prefix.includes(":") ? 128 : 32;
  return { address_prefix, prefix_len: { value: length === undefined ? whole : Number(length) } };
}

/** Without `spiffe://`, as policies name principals; the mesh's own trust domain for its alias. */
function principalName(value: string, { trustDomain }: Place): StringMatcher {
  if (value === "*") return regex(".+");
  if (value.startsWith("*")) return regex(`spiffe://.*${escaped(value.slice(1))}`);
  const own = value.replace(/^cluster\.local\//, `${trustDomain}/`);
  return own.endsWith("*")
    ? { prefix: `spiffe://${own.slice(0, -1)}` }
    : { exact: `spiffe://${own}` };
}

function namespaceName(value: string): StringMatcher {
  return regex(`.*/ns/${escaped(value).replaceAll("\\*", ".*")}/.*`);
}

function accountName(value: string, { namespace }: Place): StringMatcher {
  const [first = "", second] = value.split("/");
  const [ns, account] = second === undefined ? [namespace, first] : [first, second];
  return regex(`spiffe://[^/]+/ns/${escaped(ns)}/sa/${escaped(account)}`);
}

const authenticated = (principal_name: StringMatcher): Principal => ({
  authenticated: { principal_name },
});

function anyOf(principals: readonly Principal[]): Principal {
  const [only] = principals;
  return principals.length === 1 && only !== undefined
    ? only
    : { or_ids: { ids: [...principals] } };
}

function anyPermission(permissions: readonly Permission[]): Permission {
  const [only] = permissions;
  return permissions.length === 1 && only !== undefined
    ? only
    : { or_rules: { rules: [...permissions] } };
}

function claim(path: readonly string[], value: string): MetadataMatcher {
  const string_match = stringMatcher(value);
  return {
    filter: JWT,
    path: [JWT_PAYLOAD, ...path].map((key) => ({ key })),
    value: {
      or_match: {
        value_matchers: [{ string_match }, { list_match: { one_of: { string_match } } }],
      },
    },
  };
}

/** `<issuer>/<subject>`; the issuer may hold slashes, the subject may not. */
function requestPrincipal(value: string): Principal {
  if (value === "*") return requestIdentity("*", "*");
  const slash = value.lastIndexOf("/");
  if (slash < 0) {
    return value.startsWith("*") ? requestIdentity("*", value) : requestIdentity(value, "*");
  }
  return requestIdentity(value.slice(0, slash), value.slice(slash + 1));
}

function requestIdentity(issuer: string, subject: string): Principal {
  return {
    and_ids: {
      ids: [{ metadata: claim(["iss"], issuer) }, { metadata: claim(["sub"], subject) }],
    },
  };
}

type SourceKind =
  | "principals"
  | "requestPrincipals"
  | "namespaces"
  | "serviceAccounts"
  | "ipBlocks"
  | "remoteIpBlocks";

const SOURCE_FIELDS: Readonly<
  Record<SourceKind, { readonly not: keyof AuthorizationSource; readonly needsHttp: boolean }>
> = {
  principals: { not: "notPrincipals", needsHttp: false },
  requestPrincipals: { not: "notRequestPrincipals", needsHttp: true },
  namespaces: { not: "notNamespaces", needsHttp: false },
  serviceAccounts: { not: "notServiceAccounts", needsHttp: false },
  ipBlocks: { not: "notIpBlocks", needsHttp: false },
  remoteIpBlocks: { not: "notRemoteIpBlocks", needsHttp: false },
};

function sourceTest(kind: SourceKind, value: string, place: Place): Principal {
  switch (kind) {
    case "principals":
      return authenticated(principalName(value, place));
    case "requestPrincipals":
      return requestPrincipal(value);
    case "namespaces":
      return authenticated(namespaceName(value));
    case "serviceAccounts":
      return authenticated(accountName(value, place));
    case "ipBlocks":
      return { direct_remote_ip: cidr(value) };
    case "remoteIpBlocks":
      return { remote_ip: cidr(value) };
  }
}

/** One source: all its fields must hold, any of the values of each. */
export function sourceTests(source: AuthorizationSource, place: Place): Tests<Principal> {
  const tests: Principal[] = [];
  let needsHttp = false;
  for (const kind of Object.keys(SOURCE_FIELDS) as SourceKind[]) {
    const field = SOURCE_FIELDS[kind];
    for (const [values, isNot] of [
      [source[kind], false],
      [source[field.not], true],
    ] as const) {
      if (values === undefined) continue;
      if (field.needsHttp) needsHttp = true;
      const test = anyOf(values.map((value) => sourceTest(kind, value, place)));
      tests.push(isNot ? { not_id: test } : test);
    }
  }
  return { tests, needsHttp };
}

type OperationKind = "hosts" | "ports" | "methods" | "paths";

const OPERATION_FIELDS: Readonly<
  Record<OperationKind, { readonly not: keyof AuthorizationOperation; readonly needsHttp: boolean }>
> = {
  hosts: { not: "notHosts", needsHttp: true },
  ports: { not: "notPorts", needsHttp: false },
  methods: { not: "notMethods", needsHttp: true },
  paths: { not: "notPaths", needsHttp: true },
};

function operationTest(kind: OperationKind, value: string): Permission {
  switch (kind) {
    case "hosts": {
      const matcher = stringMatcher(value);
      // A host has no case; a regular expression stands for "any".
      const string_match = matcher.safe_regex ? matcher : { ...matcher, ignore_case: true };
      return { header: { name: ":authority", string_match } };
    }
    case "ports":
      return { destination_port: Number(value) };
    case "methods":
      return { header: { name: ":method", string_match: stringMatcher(value) } };
    case "paths":
      return { url_path: { path: pathMatcher(value) } };
  }
}

/** `{*}` is one segment, `{**}` any number of them (Istio's path templates). */
function pathMatcher(value: string): StringMatcher {
  if (!/\{\*\*?\}/.test(value)) return stringMatcher(value);
  const parts = value.split(/(\{\*\*?\})/);
  const pattern = parts.map((part) =>
    part === "{*}" ? "[^/]+" : part === "{**}" ? ".*" : escaped(part),
  );
  return regex(pattern.join(""));
}

/** One operation: all its fields must hold, any of the values of each. */
export function operationTests(operation: AuthorizationOperation): Tests<Permission> & {
  /** What is left of it where there is no HTTP. */
  readonly withoutHttp: readonly Permission[];
} {
  const tests: Permission[] = [];
  const withoutHttp: Permission[] = [];
  let needsHttp = false;
  for (const kind of Object.keys(OPERATION_FIELDS) as OperationKind[]) {
    const field = OPERATION_FIELDS[kind];
    for (const [values, isNot] of [
      [operation[kind], false],
      [operation[field.not], true],
    ] as const) {
      if (values === undefined) continue;
      const test = anyPermission(values.map((value) => operationTest(kind, value)));
      const signed: Permission = isNot ? { not_rule: test } : test;
      tests.push(signed);
      if (field.needsHttp) needsHttp = true;
      else withoutHttp.push(signed);
    }
  }
  return { tests, needsHttp, withoutHttp };
}

/** A condition tests the caller, or what is called; undefined for a key that Istio does not know. */
export type ConditionTest =
  | { readonly side: "principal"; readonly test: Principal; readonly needsHttp: boolean }
  | { readonly side: "permission"; readonly test: Permission; readonly needsHttp: boolean };

/** One condition: any of the values, and none of those excluded. */
export function conditionTests(
  condition: AuthorizationCondition,
  place: Place,
): readonly ConditionTest[] | undefined {
  const found: ConditionTest[] = [];
  for (const [values, isNot] of [
    [condition.values, false],
    [condition.notValues, true],
  ] as const) {
    if (values === undefined || values.length === 0) continue;
    const tests = values.map((value) => conditionTest(condition.key, value, place));
    const [first] = tests;
    if (first === undefined || tests.includes(undefined)) return undefined;
    const { needsHttp } = first;
    if (first.side === "principal") {
      const all = tests.flatMap((one) => (one?.side === "principal" ? [one.test] : []));
      const test = anyOf(all);
      found.push({ side: "principal", test: isNot ? { not_id: test } : test, needsHttp });
    } else {
      const all = tests.flatMap((one) => (one?.side === "permission" ? [one.test] : []));
      const test = anyPermission(all);
      found.push({ side: "permission", test: isNot ? { not_rule: test } : test, needsHttp });
    }
  }
  return found;
}

function conditionTest(key: string, value: string, place: Place): ConditionTest | undefined {
  const caller = (test: Principal, needsHttp = false): ConditionTest => ({
    side: "principal",
    test,
    needsHttp,
  });
  const called = (test: Permission): ConditionTest => ({
    side: "permission",
    test,
    needsHttp: false,
  });
  const header = /^request\.headers\[([^\]]+)\]$/.exec(key)?.[1];
  if (header !== undefined) {
    return caller({ header: { name: header, string_match: stringMatcher(value) } }, true);
  }
  const claims = /^request\.auth\.claims((?:\[[^\]]+\])+)$/.exec(key)?.[1];
  if (claims !== undefined) {
    const path = [...claims.matchAll(/\[([^\]]+)\]/g)].map((match) => match[1] ?? "");
    return caller({ metadata: claim(path, value) }, true);
  }
  switch (key) {
    case "source.ip":
      return caller({ direct_remote_ip: cidr(value) });
    case "remote.ip":
      return caller({ remote_ip: cidr(value) });
    case "source.namespace":
      return caller(authenticated(namespaceName(value)));
    case "source.principal":
      return caller(authenticated(principalName(value, place)));
    case "source.serviceAccount":
      return caller(authenticated(accountName(value, place)));
    case "source.trustDomain":
      return caller(
        authenticated(regex(`spiffe://${escaped(value).replaceAll("\\*", "[^/]*")}/.*`)),
      );
    case "request.auth.principal":
      return caller(requestPrincipal(value), true);
    case "request.auth.audiences":
      return caller({ metadata: claim(["aud"], value) }, true);
    case "request.auth.presenter":
      return caller({ metadata: claim(["azp"], value) }, true);
    case "destination.ip":
      return called({ destination_ip: cidr(value) });
    case "destination.port":
      return called({ destination_port: Number(value) });
    case "connection.sni":
      return called({ requested_server_name: stringMatcher(value) });
    default:
      return undefined;
  }
}

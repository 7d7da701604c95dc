import { z } from "zod";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { type Problem, rules } from "../rules.ts";
import { workloadSelector } from "./traffic-policy.ts";

const strings = z.array(z.string().min(1, "must not be empty")).optional();

const source = z.strictObject({
  principals: strings,
  notPrincipals: strings,
  requestPrincipals: strings,
  notRequestPrincipals: strings,
  namespaces: strings,
  notNamespaces: strings,
  serviceAccounts: strings,
  notServiceAccounts: strings,
  ipBlocks: strings,
  notIpBlocks: strings,
  remoteIpBlocks: strings,
  notRemoteIpBlocks: strings,
});

const operation = z.strictObject({
  hosts: strings,
  notHosts: strings,
  ports: strings,
  notPorts: strings,
  methods: strings,
  notMethods: strings,
  paths: strings,
  notPaths: strings,
});

const condition = z.strictObject({
  key: z.string().min(1, "must not be empty"),
  values: strings,
  notValues: strings,
});

const rule = z.strictObject({
  from: z.array(z.strictObject({ source: source.optional() })).optional(),
  to: z.array(z.strictObject({ operation: operation.optional() })).optional(),
  when: z.array(condition).optional(),
});

/** Schema of an AuthorizationPolicy's spec (security.istio.io). */
export const authorizationPolicySpec = z
  .strictObject({
    selector: workloadSelector.optional(),
    rules: z.array(rule).optional(),
    action: z.enum(["ALLOW", "DENY", "AUDIT", "CUSTOM"]).optional(),
    provider: z.strictObject({ name: z.string().optional() }).optional(),
  })
  .superRefine(
    rules(function* (spec) {
      const { action = "ALLOW", provider } = spec;
      const isEmpty = (spec.rules ?? []).length === 0;
      if (isEmpty && (action === "DENY" || action === "CUSTOM")) {
        yield [["rules"], `must not be empty: a ${action} policy without rules does nothing`];
      }
      if (action === "CUSTOM" && (provider?.name ?? "") === "") {
        yield [["provider", "name"], "is required for action CUSTOM"];
      }
      if (action !== "CUSTOM" && provider !== undefined) {
        yield [["provider"], `must not be set with action ${action}`];
      }
      for (const [i, each] of (spec.rules ?? []).entries()) {
        for (const [path, message] of ruleProblems(each)) yield [["rules", i, ...path], message];
      }
    }),
  );
export type AuthorizationPolicySpec = z.infer<typeof authorizationPolicySpec>;
export type AuthorizationRule = z.infer<typeof rule>;
export type AuthorizationSource = z.infer<typeof source>;
export type AuthorizationOperation = z.infer<typeof operation>;
export type AuthorizationCondition = z.infer<typeof condition>;

function* ruleProblems({ from, to, when }: AuthorizationRule): Iterable<Problem> {
  if (from?.length === 0) yield [["from"], "must not be empty"];
  if (to?.length === 0) yield [["to"], "must not be empty"];
  for (const [i, { source: one }] of (from ?? []).entries()) {
    yield* sourceProblems(one ?? {}, ["from", i, "source"]);
  }
  for (const [i, { operation: one }] of (to ?? []).entries()) {
    yield* operationProblems(one ?? {}, ["to", i, "operation"]);
  }
  for (const [i, { values, notValues }] of (when ?? []).entries()) {
    if ((values ?? []).length + (notValues ?? []).length === 0) {
      yield [["when", i], "must set values or notValues"];
    }
  }
}

function* sourceProblems(
  one: AuthorizationSource,
  path: readonly PropertyKey[],
): Iterable<Problem> {
  yield* emptyLists(one, path);
  const hasAccounts = one.serviceAccounts !== undefined || one.notServiceAccounts !== undefined;
  const others = ["principals", "notPrincipals", "namespaces", "notNamespaces"] as const;
  const other = others.find((field) => one[field] !== undefined);
  if (hasAccounts && other !== undefined) {
    yield [[...path, other], "must not be set together with serviceAccounts"];
  }
  for (const field of ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"] as const) {
    for (const [i, block] of (one[field] ?? []).entries()) {
      if (!isIpBlock(block))
        yield [[...path, field, i], `must be an IP address or CIDR range (found ${block})`];
    }
  }
}

function* operationProblems(
  one: AuthorizationOperation,
  path: readonly PropertyKey[],
): Iterable<Problem> {
  yield* emptyLists(one, path);
  for (const field of ["ports", "notPorts"] as const) {
    for (const [i, port] of (one[field] ?? []).entries()) {
      if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
        yield [[...path, field, i], `must be a port from 1 to 65535 (found ${port})`];
      }
    }
  }
}

function* emptyLists(
  fields: Readonly<Record<string, readonly string[] | undefined>>,
  path: readonly PropertyKey[],
): Iterable<Problem> {
  const given = Object.entries(fields).filter(([, list]) => list !== undefined);
  if (given.length === 0) yield [path, "must set at least one field"];
  for (const [name, list] of given) {
    if (list?.length === 0) yield [[...path, name], "must not be empty"];
  }
}

function isIpBlock(block: string): boolean {
  const [address = "", length, ...rest] = block.split("/");
  if (rest.length > 0 || (length !== undefined && !/^\d{1,3}$/.test(length))) return false;
  const isIpv4 =
    /^\d{1,3}(\.\d{1,3}){3}$/.test(address) &&
    address.split(".").every((part) => Number(part) < 256);
  if (isIpv4) return length === undefined || Number(length) <= 32;
  const isIpv6 = /^[0-9A-Fa-f:]+$/.test(address) && address.includes(":");
  return isIpv6 && (length === undefined || Number(length) <= 128);
}

/** Reads an AuthorizationPolicy. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseAuthorizationPolicy(object: KubeObject): AuthorizationPolicySpec {
  return parseSpec(object, authorizationPolicySpec);
}

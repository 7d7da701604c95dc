import { z } from "zod";
import { name, port, text } from "../fields.ts";
import { isIpAddress, isWildcardDomain } from "../istio/host-name.ts";
import { rules } from "../rules.ts";

/** The API group of Gateway API's kinds, and of references that name none. */
export const GATEWAY_API_GROUP = "gateway.networking.k8s.io";

const SECTION = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

/** The name of a listener or of a rule. */
export const sectionName = z
  .string()
  .regex(SECTION, "must be a DNS name: lower case letters, digits, - and .");

/** A host name, whose first label may be `*`; never an IP address. */
export const hostname = z.string().refine(isHostname, {
  error: (issue) =>
    `must be a host name such as a.example.com or *.example.com (found ${said(issue)})`,
});

/** A host name without a wildcard. */
export const preciseHostname = z
  .string()
  .refine((host) => isHostname(host) && !host.includes("*"), {
    error: (issue) => `must be a host name without * (found ${said(issue)})`,
  });

function said({ input }: { readonly input?: unknown }): string {
  return JSON.stringify(input);
}

function isHostname(host: string): boolean {
  if (isIpAddress(host) || !isWildcardDomain(host) || host !== host.toLowerCase()) return false;
  // Gateway API: the asterisk is a whole label, and not the only one.
  return !host.includes("*") || (host.startsWith("*.") && host.length > 2);
}

/** How long something may take: up to four numbers with h, m, s or ms; `0s` = without a limit. */
export const gatewayDuration = z
  .string()
  .regex(/^(?:[0-9]{1,5}(?:h|m|s|ms)){1,4}$/, "must be a duration such as 1s, 500ms or 1m30s");

/** Which Gateway, listener or Service a route attaches itself to. */
export const parentRef = z.strictObject({
  group: text.optional(),
  kind: name.optional(),
  namespace: name.optional(),
  name,
  sectionName: sectionName.optional(),
  port: port.optional(),
});
export type ParentRef = z.infer<typeof parentRef>;

/** What every route kind has; no two references to one parent may mean the same part of it. */
export const parentRefs = z
  .array(parentRef)
  .max(32)
  .superRefine(
    rules(function* (refs) {
      const seen = new Map<string, number>();
      for (const [index, ref] of refs.entries()) {
        const { group = GATEWAY_API_GROUP, kind = "Gateway", namespace = "" } = ref;
        const part = [ref.sectionName ?? "", ref.port ?? 0];
        const key = JSON.stringify([group, kind, namespace, ref.name, ...part]);
        const earlier = seen.get(key);
        if (earlier !== undefined)
          yield [[index], `names the same parent as parentRefs[${earlier}]`];
        seen.set(key, index);
      }
    }),
  );

const objectReference = {
  group: text.optional(),
  kind: name.optional(),
  namespace: name.optional(),
  name,
};

/** A Secret, or another object, of a namespace. */
export const secretReference = z.strictObject(objectReference);

export const backendFields = { ...objectReference, port: port.optional() };

/** A Service needs a port. */
export function* backendProblems(ref: {
  readonly group?: string | undefined;
  readonly kind?: string | undefined;
  readonly port?: number | undefined;
}): Generator<[readonly PropertyKey[], string]> {
  if ((ref.group ?? "") === "" && (ref.kind ?? "Service") === "Service" && ref.port === undefined) {
    yield [["port"], "is required for a Service"];
  }
}

/** Where requests are copied to. */
export const backendReference = z.strictObject(backendFields).superRefine(rules(backendProblems));
export type BackendReference = z.infer<typeof backendReference>;

/** A share of the whole: at most a million. */
export const weight = z.int().min(0).max(1_000_000);

/** A destination without filters of its own. */
export const backendRef = z
  .strictObject({ ...backendFields, weight: weight.optional() })
  .superRefine(rules(backendProblems));
export type BackendRef = z.infer<typeof backendRef>;

/** Named rules have different names. */
export function* ruleNameProblems(
  all: readonly { readonly name?: string | undefined }[],
): Generator<[readonly PropertyKey[], string]> {
  const seen = new Set<string>();
  for (const [index, { name: own }] of all.entries()) {
    if (own === undefined) continue;
    if (seen.has(own)) yield [[index, "name"], `duplicate rule name ${own}`];
    seen.add(own);
  }
}

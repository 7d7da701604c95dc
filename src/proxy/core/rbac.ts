import type { DynamicMetadata } from "./metadata.ts";

/** What authorization may look at: a request, or a connection before its first request. */
export interface RbacSubject {
  /** The values of a header or pseudo header, one for each line; none on a bare connection. */
  headerValues(name: string): readonly string[];
  /** The path without its query; undefined on a bare connection. */
  readonly urlPath: string | undefined;
  readonly destinationIp: string;
  readonly destinationPort: number;
  /** The peer of the connection. */
  readonly directRemoteIp: string;
  /** The client as far as x-forwarded-for is trusted. */
  readonly remoteIp: string;
  readonly requestedServerName: string;
  /** Undefined without a verified client certificate. */
  readonly peer:
    | {
        readonly uris: readonly string[];
        readonly dnsNames: readonly string[];
        readonly subject: string;
      }
    | undefined;
  readonly metadata: DynamicMetadata | undefined;
}

export type RbacPredicate = (subject: RbacSubject) => boolean;

export interface RbacPolicy {
  readonly name: string;
  matches(subject: RbacSubject): boolean;
}

/** Compiled rules; `log` never denies. */
export interface RbacRules {
  readonly action: "allow" | "deny" | "log";
  /** In the order of their names, as Envoy tries them. */
  readonly policies: readonly RbacPolicy[];
}

/** One RBAC filter. */
export interface RbacConfig {
  readonly rules: RbacRules | undefined;
  readonly shadowRules: RbacRules | undefined;
  readonly rulesStatPrefix: string;
  readonly shadowRulesStatPrefix: string;
}

export interface RbacVerdict {
  readonly isAllowed: boolean;
  /** The policy that decided, or "none". */
  readonly policy: string;
}

/** Decides under one set of rules (envoy.config.rbac.v3.RBAC: ALLOW, DENY, LOG). */
export function decideRbac(rules: RbacRules, subject: RbacSubject): RbacVerdict {
  const matched = rules.policies.find((policy) => policy.matches(subject));
  const policy = matched?.name ?? "none";
  switch (rules.action) {
    case "allow":
      return { isAllowed: matched !== undefined, policy };
    case "deny":
      return { isAllowed: matched === undefined, policy };
    case "log":
      return { isAllowed: true, policy };
  }
}

import { z } from "zod";
import { name, port, stringMap, text } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { type Problem, rules } from "../rules.ts";
import { serverTls } from "./gateway.ts";
import { isIpAddress, isWildcardDomain } from "./host-name.ts";
import { connectionPool } from "./traffic-policy.ts";

const listenerPort = z.strictObject({
  number: port,
  protocol: text.optional(),
  name: text.optional(),
  targetPort: z.literal(0, "has no effect on sidecars").optional(),
});
const captureMode = z.enum(["DEFAULT", "IPTABLES", "NONE"]).optional();
const bind = text
  .refine((address) => isIpAddress(address) || address.startsWith("unix://"), {
    error: (issue) => `must be an IP address or unix:///path (found ${issue.input})`,
  })
  .optional();
const NAMESPACE = /^(?:[*.~]|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/;

const egressHost = name.refine(
  (host) => {
    const [namespace = "", dnsName = "", ...more] = host.split("/");
    return more.length === 0 && NAMESPACE.test(namespace) && isWildcardDomain(dnsName);
  },
  {
    error: (issue) =>
      `must be namespace/dnsName, with *, . or ~ for the namespace (found ${JSON.stringify(issue.input)})`,
  },
);

const ENDPOINT =
  /^(?:unix:\/\/(?:\/|@).+|(?:127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):(?<port>[1-9]\d{0,4}))$/;

const spec = z
  .strictObject({
    workloadSelector: z.strictObject({ labels: stringMap }).optional(),
    ingress: z
      .array(
        z.strictObject({
          port: listenerPort,
          bind,
          captureMode,
          defaultEndpoint: text
            .refine((endpoint) => endpoint === "" || ENDPOINT.test(endpoint), {
              error: (issue) =>
                `must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT or unix:///path (found ${issue.input})`,
            })
            .optional(),
          tls: serverTls.optional(),
          connectionPool: connectionPool.optional(),
        }),
      )
      .optional(),
    egress: z
      .array(
        z.strictObject({
          port: listenerPort.optional(),
          bind,
          captureMode,
          hosts: z.array(egressHost).min(1),
        }),
      )
      .optional(),
    inboundConnectionPool: connectionPool.optional(),
    outboundTrafficPolicy: z
      .strictObject({
        mode: z.enum(["REGISTRY_ONLY", "ALLOW_ANY"]).optional(),
        egressProxy: z
          .strictObject({
            host: name,
            subset: text.optional(),
            port: z.strictObject({ number: port }),
          })
          .optional(),
      })
      .optional(),
  })
  .superRefine(rules(sidecarProblems));

/** Schema of a Sidecar's spec (networking.istio.io). */
export const sidecarSpec = spec;
export type SidecarSpec = z.infer<typeof spec>;

/** Reads a Sidecar. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseSidecar(object: KubeObject): SidecarSpec {
  return parseSpec(object, spec);
}

interface Fields {
  readonly ingress?: readonly { readonly port: { readonly number: number } }[] | undefined;
  readonly egress?:
    | readonly {
        readonly port?: { readonly number: number } | undefined;
        readonly hosts: readonly string[];
      }[]
    | undefined;
  readonly outboundTrafficPolicy?: unknown;
  readonly inboundConnectionPool?: unknown;
}

function* sidecarProblems(sidecar: Fields): Generator<Problem> {
  const { ingress = [], egress = [] } = sidecar;
  const others = [sidecar.outboundTrafficPolicy, sidecar.inboundConnectionPool];
  if (ingress.length + egress.length === 0 && others.every((each) => each === undefined)) {
    yield [[], "empty configuration provided"];
  }
  for (const [i, { port: at }] of ingress.entries()) {
    if (ingress.slice(0, i).some((each) => each.port.number === at.number)) {
      yield [["ingress", i, "port"], `ports on which two listeners stand: ${at.number}`];
    }
  }
  for (const [i, { port: at, hosts }] of egress.entries()) {
    if (at === undefined && i < egress.length - 1) {
      yield [["egress", i], "the egress listener with empty port should be the last listener"];
    }
    const repeated = hosts.findIndex((host, j) => hosts.indexOf(host) < j);
    if (repeated >= 0) yield [["egress", i, "hosts", repeated], "duplicate host"];
  }
}

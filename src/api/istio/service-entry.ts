import { z } from "zod";
import { name, port, text, texts } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { type Problem, rules } from "../rules.ts";
import { exportTo } from "./export-to.ts";
import { isIpAddress, isWildcardDomain } from "./host-name.ts";
import { endpointFields, isEndpointAddress } from "./workload-entry.ts";

/** Protocols that a port of a ServiceEntry may name, in lower case. */
const PROTOCOLS = [
  ...["http", "https", "grpc", "grpc-web", "http2", "mongo", "mysql", "redis", "tcp", "tls", "udp"],
];

const servicePort = z.strictObject({
  number: port,
  name: name.regex(/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/, "must be a DNS label"),
  protocol: text
    .refine((protocol) => protocol === "" || PROTOCOLS.includes(protocol.toLowerCase()), {
      error: `must be one of ${PROTOCOLS.join(", ").toUpperCase()}`,
    })
    .optional(),
  targetPort: port.optional(),
});

const spec = z
  .strictObject({
    hosts: z.array(name).min(1),
    addresses: texts.optional(),
    ports: z.array(servicePort).optional(),
    location: z.enum(["MESH_EXTERNAL", "MESH_INTERNAL"]).optional(),
    resolution: z.enum(["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]).optional(),
    endpoints: z.array(z.strictObject(endpointFields)).optional(),
    workloadSelector: z.strictObject({ labels: z.record(z.string(), z.string()) }).optional(),
    exportTo: exportTo.optional(),
    subjectAltNames: texts.optional(),
  })
  .superRefine(rules(serviceEntryProblems));

/** Schema of a ServiceEntry's spec (networking.istio.io). */
export const serviceEntrySpec = spec;
export type ServiceEntrySpec = z.infer<typeof spec>;

/** Reads a ServiceEntry. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseServiceEntry(object: KubeObject): ServiceEntrySpec {
  return parseSpec(object, spec);
}

interface Fields {
  readonly hosts: readonly string[];
  readonly addresses?: readonly string[] | undefined;
  readonly ports?: readonly { readonly number: number; readonly name: string }[] | undefined;
  readonly resolution?: string | undefined;
  readonly endpoints?:
    | readonly {
        readonly address?: string | undefined;
        readonly ports?: Readonly<Record<string, number>> | undefined;
      }[]
    | undefined;
  readonly workloadSelector?: unknown;
}

/** Istio's rules across the fields (pkg/config/validation ValidateServiceEntry). */
function* serviceEntryProblems(entry: Fields): Generator<Problem> {
  const { hosts, addresses = [], ports = [], endpoints = [], resolution = "NONE" } = entry;
  for (const [i, host] of hosts.entries()) {
    if (host === "*") yield [["hosts", i], "invalid host *"];
    else if (!isWildcardDomain(host)) yield [["hosts", i], `must be a host name (found ${host})`];
  }
  yield* addressProblems(addresses, resolution);
  yield* portProblems(ports);
  if (entry.workloadSelector !== undefined && endpoints.length > 0) {
    yield [["endpoints"], "only one of workloadSelector or endpoints is allowed"];
  }
  yield* resolutionProblems(entry, resolution, endpoints);
  for (const [i, { address = "", ports: own = {} }] of endpoints.entries()) {
    if (!isEndpointAddress(address)) {
      yield [["endpoints", i, "address"], `must be an address (found ${JSON.stringify(address)})`];
    }
    for (const key of Object.keys(own)) {
      if (!ports.some((each) => each.name === key)) {
        yield [
          ["endpoints", i, "ports", key],
          `endpoint port ${key} is not defined by the service entry`,
        ];
      }
    }
  }
}

function* addressProblems(addresses: readonly string[], resolution: string): Generator<Problem> {
  for (const [i, address] of addresses.entries()) {
    const [ip = "", length] = address.split("/");
    const most = ip.includes(":") ? 128 : 32;
    const isLength = length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= most);
    if (!isIpAddress(ip) || !isLength) {
      yield [["addresses", i], `must be an IP address or CIDR block (found ${address})`];
    } else if (length !== undefined && resolution !== "NONE" && resolution !== "STATIC") {
      yield [["addresses", i], "CIDR addresses are allowed only for NONE/STATIC resolution types"];
    }
  }
}

function* portProblems(
  ports: readonly { readonly number: number; readonly name: string }[],
): Generator<Problem> {
  for (const [i, { number, name: portName }] of ports.entries()) {
    const earlier = ports.slice(0, i);
    if (earlier.some((each) => each.number === number)) {
      yield [["ports", i, "number"], `service port ${number} already defined`];
    }
    if (earlier.some((each) => each.name === portName)) {
      yield [["ports", i, "name"], `service port name ${portName} already defined`];
    }
  }
}

function* resolutionProblems(
  { hosts, workloadSelector }: Fields,
  resolution: string,
  endpoints: NonNullable<Fields["endpoints"]>,
): Generator<Problem> {
  const isWild = hosts.findIndex((host) => host.startsWith("*"));
  switch (resolution) {
    case "NONE":
      if (endpoints.length > 0) {
        yield [["endpoints"], "no endpoints should be provided for resolution type NONE"];
      }
      return;
    case "STATIC":
      if (endpoints.length === 0 && workloadSelector === undefined) {
        yield [["endpoints"], "endpoints must be provided if service entry resolution is STATIC"];
      }
      for (const [i, { address = "" }] of endpoints.entries()) {
        if (!isIpAddress(address) && !address.startsWith("unix://")) {
          yield [
            ["endpoints", i, "address"],
            `must be an IP address for STATIC (found ${address})`,
          ];
        }
      }
      return;
    case "DYNAMIC_DNS":
      if (endpoints.length > 0) {
        yield [["endpoints"], "no endpoints should be provided for resolution type DYNAMIC_DNS"];
      }
      return;
    default:
      if (endpoints.length === 0 && workloadSelector === undefined && isWild >= 0) {
        yield [
          ["hosts", isWild],
          `hosts must be FQDN if no endpoints are provided for resolution mode ${resolution}`,
        ];
      }
      if (resolution === "DNS_ROUND_ROBIN" && endpoints.length > 1) {
        yield [
          ["endpoints"],
          "there must only be 0 or 1 endpoint for resolution mode DNS_ROUND_ROBIN",
        ];
      }
  }
}

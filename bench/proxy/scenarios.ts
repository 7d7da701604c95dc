import type { ProxyPlan } from "./bootstrap.ts";
import type { Certificates } from "./certificates.ts";

/** What the load generator does. */
export interface Load {
  readonly tool: "wrk" | "h2load";
  readonly path: "/1k" | "/64k" | "/post";
  readonly connections: number;
  /** Streams per connection, HTTP/2 only. */
  readonly streams?: number;
  /** Bytes of a POST body. */
  readonly bodyBytes?: number;
}

/** Ports of one contender in one scenario. */
export interface ScenarioPorts {
  readonly proxies: readonly [number, number];
  readonly admins: readonly [number, number];
  /** Two ports of the HTTP/1.1 upstream. */
  readonly http1: readonly [number, number];
  /** The HTTP/2 upstream. */
  readonly http2: number;
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** nginx and HAProxy only where the configuration is the same thing for all. */
  readonly withOthers: boolean;
  readonly load: Load;
  /** The first plan takes the load. */
  plans(ports: ScenarioPorts, certificates: Certificates): readonly ProxyPlan[];
  /** The same requests without any proxy. */
  direct(ports: ScenarioPorts): number;
  /** Also counts new TLS connections. */
  readonly countsHandshakes?: true;
}

const plain = {
  kind: "http",
  upstreamProtocol: "http1",
  downstreamTls: "none",
  upstreamTls: false,
  certificates: undefined,
  hasAllFeatures: false,
} as const;

const single = (ports: ScenarioPorts): ProxyPlan => ({
  ...plain,
  port: ports.proxies[0],
  admin: ports.admins[0],
  upstreams: ports.http1,
});

/** Client sidecar, mutual TLS, server sidecar. */
const pair =
  (between: "http1" | "http2") =>
  (ports: ScenarioPorts, certificates: Certificates): readonly ProxyPlan[] => [
    {
      ...plain,
      port: ports.proxies[0],
      admin: ports.admins[0],
      upstreams: [ports.proxies[1]],
      upstreamProtocol: between,
      upstreamTls: true,
      certificates,
    },
    {
      ...plain,
      port: ports.proxies[1],
      admin: ports.admins[1],
      upstreams: [ports.http1[0]],
      downstreamTls: "mutual",
      certificates,
    },
  ];

const toHttp1 = (ports: ScenarioPorts): number => ports.http1[0];

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "h1-plain",
    title: "HTTP/1.1 keep-alive, 1 KB, route 90/10",
    withOthers: true,
    load: { tool: "wrk", path: "/1k", connections: 32 },
    plans: (ports) => [single(ports)],
    direct: toHttp1,
  },
  {
    name: "h1-full",
    title:
      "HTTP/1.1 keep-alive, 1 KB, with authorization, rate limit, faults, CORS, a JSON access log and tracing of 1 %",
    withOthers: true,
    load: { tool: "wrk", path: "/1k", connections: 32 },
    plans: (ports) => [{ ...single(ports), hasAllFeatures: true }],
    direct: toHttp1,
  },
  {
    name: "h1-64k",
    title: "HTTP/1.1 keep-alive, GET of 64 KB",
    withOthers: true,
    load: { tool: "wrk", path: "/64k", connections: 32 },
    plans: (ports) => [single(ports)],
    direct: toHttp1,
  },
  {
    name: "h1-post",
    title: "HTTP/1.1 keep-alive, POST of 64 KB",
    withOthers: true,
    load: { tool: "wrk", path: "/post", connections: 32, bodyBytes: 65_536 },
    plans: (ports) => [single(ports)],
    direct: toHttp1,
  },
  {
    name: "h2",
    title: "HTTP/2 prior knowledge on both sides, 1 KB, 8 connections of 32 streams",
    withOthers: false,
    load: { tool: "h2load", path: "/1k", connections: 8, streams: 32 },
    plans: (ports) => [{ ...single(ports), upstreams: [ports.http2], upstreamProtocol: "http2" }],
    direct: (ports) => ports.http2,
  },
  {
    name: "pair-h1",
    title: "sidecar pair over mutual TLS, HTTP/1.1 between them, 1 KB",
    withOthers: false,
    load: { tool: "wrk", path: "/1k", connections: 32 },
    plans: pair("http1"),
    direct: toHttp1,
  },
  {
    name: "pair-h2",
    title: "sidecar pair over mutual TLS, HTTP/2 between them, 1 KB",
    withOthers: false,
    load: { tool: "wrk", path: "/1k", connections: 32 },
    plans: pair("http2"),
    direct: toHttp1,
  },
  {
    name: "pair-64k",
    title: "sidecar pair over mutual TLS, HTTP/1.1 between them, 64 KB",
    withOthers: false,
    load: { tool: "wrk", path: "/64k", connections: 32 },
    plans: pair("http1"),
    direct: toHttp1,
  },
  {
    name: "tcp",
    title: "TCP relay of HTTP/1.1 keep-alive, 1 KB",
    withOthers: false,
    load: { tool: "wrk", path: "/1k", connections: 32 },
    plans: (ports) => [{ ...single(ports), kind: "tcp", upstreams: [ports.http1[0]] }],
    direct: toHttp1,
  },
  {
    name: "tls",
    title: "TLS 1.3 from the client, 1 KB",
    withOthers: false,
    load: { tool: "wrk", path: "/1k", connections: 32 },
    plans: (ports, certificates) => [{ ...single(ports), downstreamTls: "server", certificates }],
    direct: toHttp1,
    countsHandshakes: true,
  },
];

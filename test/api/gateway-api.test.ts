import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type KubeObject,
  parseGatewayClass,
  parseGrpcRoute,
  parseHttpRoute,
  parseKubernetesGateway,
  parseReferenceGrant,
  parseTcpRoute,
  parseTlsRoute,
} from "../../src/api/index.ts";
import { SerinError } from "../../src/base/index.ts";

const PARSE = {
  GatewayClass: parseGatewayClass,
  Gateway: parseKubernetesGateway,
  HTTPRoute: parseHttpRoute,
  GRPCRoute: parseGrpcRoute,
  TCPRoute: parseTcpRoute,
  TLSRoute: parseTlsRoute,
  ReferenceGrant: parseReferenceGrant,
} as const;

const objectOf = (kind: string, spec: object): KubeObject => ({
  apiVersion: "gateway.networking.k8s.io/v1",
  kind,
  metadata: { name: "x", namespace: "default" },
  spec,
});

const rule = (more: object): object => ({ rules: [more] });
const filter = (more: object): object => rule({ filters: [more] });
const listener = (more: object): object => ({
  gatewayClassName: "serin",
  listeners: [{ name: "http", port: 80, protocol: "HTTP", ...more }],
});
const header = { name: "X-A", value: "1" };
const replacePrefix = { type: "ReplacePrefixMatch", replacePrefixMatch: "/x" };

/** Kind, what is wrong, spec, and what of the message must be there. */
const BAD: readonly (readonly [keyof typeof PARSE, string, object, RegExp])[] = [
  ["GatewayClass", "a controller without path", { controllerName: "x" }, /spec\.controllerName/],
  ["Gateway", "no listeners", { gatewayClassName: "a", listeners: [] }, /spec\.listeners/],
  [
    "Gateway",
    "a hostname of TCP",
    listener({ protocol: "TCP", hostname: "a.com" }),
    /listeners\[0\]\.hostname: cannot be set/,
  ],
  ["Gateway", "TLS of HTTP", listener({ tls: {} }), /listeners\[0\]\.tls: cannot be set/],
  [
    "Gateway",
    "HTTPS without tls",
    listener({ protocol: "HTTPS" }),
    /listeners\[0\]\.tls: is required/,
  ],
  [
    "Gateway",
    "no certificate",
    listener({ protocol: "HTTPS", tls: {} }),
    /tls\.certificateRefs: is required/,
  ],
  [
    "Gateway",
    "HTTPS passed through",
    listener({ protocol: "HTTPS", tls: { mode: "Passthrough" } }),
    /tls\.mode: must be Terminate/,
  ],
  [
    "Gateway",
    "an address as hostname",
    listener({ hostname: "1.2.3.4" }),
    /hostname: must be a host name/,
  ],
  ["Gateway", "half a wildcard", listener({ hostname: "a*.com" }), /hostname: must be a host name/],
  ["Gateway", "a slip", listener({ hostnam: "a.com" }), /did you mean hostname/],
  [
    "Gateway",
    "one name twice",
    {
      gatewayClassName: "a",
      listeners: [
        { name: "x", port: 80, protocol: "HTTP" },
        { name: "x", port: 81, protocol: "HTTP" },
      ],
    },
    /listeners\[1\]\.name: is the name of listeners\[0\]/,
  ],
  [
    "Gateway",
    "one place twice",
    {
      gatewayClassName: "a",
      listeners: [
        { name: "x", port: 80, protocol: "HTTP" },
        { name: "y", port: 80, protocol: "HTTP" },
      ],
    },
    /listeners\[1\]: has the port, protocol and hostname of listeners\[0\]/,
  ],
  [
    "HTTPRoute",
    "a relative path",
    rule({ matches: [{ path: { value: "a" } }] }),
    /path\.value: must be an absolute path/,
  ],
  [
    "HTTPRoute",
    "a path with dots",
    rule({ matches: [{ path: { value: "/a/../b" } }] }),
    /must not contain \/\.\.\//,
  ],
  [
    "HTTPRoute",
    "a query in a path",
    rule({ matches: [{ path: { value: "/a?b" } }] }),
    /characters of a path/,
  ],
  [
    "HTTPRoute",
    "no expression",
    rule({ matches: [{ path: { type: "RegularExpression", value: "(" } }] }),
    /path\.value: must be an RE2 expression/,
  ],
  [
    "HTTPRoute",
    "no header expression",
    rule({ matches: [{ headers: [{ ...header, type: "RegularExpression", value: "[" }] }] }),
    /headers\[0\]\.value: must be an RE2/,
  ],
  [
    "HTTPRoute",
    "a filter without its field",
    filter({ type: "URLRewrite" }),
    /filters\[0\]\.urlRewrite: is required with type URLRewrite/,
  ],
  [
    "HTTPRoute",
    "a filter with another's field",
    filter({ type: "CORS", cors: {}, urlRewrite: {} }),
    /filters\[0\]\.urlRewrite: cannot be set with type CORS/,
  ],
  [
    "HTTPRoute",
    "one filter twice",
    rule({
      filters: [
        { type: "URLRewrite", urlRewrite: {} },
        { type: "URLRewrite", urlRewrite: {} },
      ],
    }),
    /filters\[1\]\.type: URLRewrite is already in filters\[0\]/,
  ],
  [
    "HTTPRoute",
    "rewrite and redirect",
    rule({
      filters: [
        { type: "URLRewrite", urlRewrite: {} },
        { type: "RequestRedirect", requestRedirect: {} },
      ],
    }),
    /exclude each other/,
  ],
  [
    "HTTPRoute",
    "backends of a redirect",
    rule({
      filters: [{ type: "RequestRedirect", requestRedirect: {} }],
      backendRefs: [{ name: "a", port: 1 }],
    }),
    /backendRefs: cannot be set together with a RequestRedirect/,
  ],
  [
    "HTTPRoute",
    "a prefix replaced that is not matched",
    rule({
      matches: [{ path: { type: "Exact", value: "/a" } }],
      filters: [{ type: "URLRewrite", urlRewrite: { path: replacePrefix } }],
    }),
    /replacePrefixMatch: needs exactly one match, of type PathPrefix/,
  ],
  [
    "HTTPRoute",
    "the path of another type",
    filter({
      type: "URLRewrite",
      urlRewrite: { path: { ...replacePrefix, type: "ReplaceFullPath" } },
    }),
    /replaceFullPath: is required/,
  ],
  [
    "HTTPRoute",
    "a redirect's status",
    filter({ type: "RequestRedirect", requestRedirect: { statusCode: 200 } }),
    /statusCode: must be 301/,
  ],
  [
    "HTTPRoute",
    "one header set and removed",
    filter({
      type: "RequestHeaderModifier",
      requestHeaderModifier: { set: [header], remove: ["x-a"] },
    }),
    /x-a is already in set\[0\]/,
  ],
  [
    "HTTPRoute",
    "percent and fraction",
    filter({
      type: "RequestMirror",
      requestMirror: { backendRef: { name: "a", port: 1 }, percent: 1, fraction: { numerator: 1 } },
    }),
    /fraction: cannot be set together with percent/,
  ],
  [
    "HTTPRoute",
    "more than all",
    filter({
      type: "RequestMirror",
      requestMirror: { backendRef: { name: "a", port: 1 }, fraction: { numerator: 101 } },
    }),
    /numerator must not be more/,
  ],
  [
    "HTTPRoute",
    "an origin",
    filter({ type: "CORS", cors: { allowOrigins: ["a.com"] } }),
    /allowOrigins\[0\]: must be \* or a scheme/,
  ],
  [
    "HTTPRoute",
    "a Service without port",
    rule({ backendRefs: [{ name: "a" }] }),
    /backendRefs\[0\]\.port: is required/,
  ],
  [
    "HTTPRoute",
    "a weight",
    rule({ backendRefs: [{ name: "a", port: 1, weight: 1_000_001 }] }),
    /weight/,
  ],
  [
    "HTTPRoute",
    "a duration",
    rule({ timeouts: { request: "1.5s" } }),
    /timeouts\.request: must be a duration/,
  ],
  [
    "HTTPRoute",
    "an attempt longer than the whole",
    rule({ timeouts: { request: "1s", backendRequest: "2s" } }),
    /backendRequest: must not be longer/,
  ],
  [
    "HTTPRoute",
    "a parent twice",
    { parentRefs: [{ name: "a" }, { name: "a" }] },
    /parentRefs\[1\]: names the same parent as parentRefs\[0\]/,
  ],
  [
    "HTTPRoute",
    "a rule's name twice",
    { rules: [{ name: "a" }, { name: "a" }] },
    /rules\[1\]\.name: duplicate rule name a/,
  ],
  [
    "GRPCRoute",
    "an empty method",
    rule({ matches: [{ method: {} }] }),
    /method: must have a service or a method/,
  ],
  [
    "GRPCRoute",
    "a path as method",
    rule({ matches: [{ method: { method: "/a/b" } }] }),
    /method\.method: must be the name of a gRPC method/,
  ],
  ["GRPCRoute", "a redirect", filter({ type: "RequestRedirect" }), /filters\[0\]\.type/],
  ["TCPRoute", "no backends", rule({ backendRefs: [] }), /rules\[0\]\.backendRefs/],
  [
    "TLSRoute",
    "an address",
    { hostnames: ["1.2.3.4"], ...rule({ backendRefs: [{ name: "a", port: 1 }] }) },
    /hostnames\[0\]: must be a host name/,
  ],
  ["ReferenceGrant", "nobody", { from: [], to: [{ group: "", kind: "Secret" }] }, /spec\.from/],
];
for (const [kind, name, spec, message] of BAD) {
  test(`${kind} is refused: ${name}`, () => {
    assert.throws(
      () => PARSE[kind](objectOf(kind, spec)),
      (error) =>
        error instanceof SerinError &&
        error.code === "SERIN_INVALID_RESOURCE" &&
        message.test(error.message),
    );
  });
}

test("what the specification's examples say is taken", () => {
  parseKubernetesGateway(
    objectOf("Gateway", {
      gatewayClassName: "istio",
      listeners: [
        { name: "foo", hostname: "*.foo.com", port: 80, protocol: "HTTP" },
        {
          name: "tls",
          port: 443,
          protocol: "HTTPS",
          tls: { certificateRefs: [{ kind: "Secret", group: "", name: "c", namespace: "n" }] },
          allowedRoutes: {
            namespaces: { from: "Selector", selector: { matchLabels: { a: "b" } } },
            kinds: [{ kind: "HTTPRoute" }],
          },
        },
        { name: "odd", port: 1, protocol: "example.com/quic" },
      ],
      infrastructure: { labels: { a: "b" } },
    }),
  );
  parseHttpRoute(
    objectOf("HTTPRoute", {
      parentRefs: [
        { name: "a", sectionName: "x" },
        { name: "a", sectionName: "y" },
      ],
      hostnames: ["a.com", "*.b.com"],
      rules: [
        {
          matches: [{ path: { type: "PathPrefix", value: "/" }, method: "GET" }],
          timeouts: { request: "1m30s", backendRequest: "0s" },
          retry: { codes: [500], attempts: 3, backoff: "100ms" },
          sessionPersistence: { sessionName: "s" },
          backendRefs: [{ name: "a", port: 80, weight: 0 }],
        },
      ],
    }),
  );
  parseHttpRoute(objectOf("HTTPRoute", {}));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type KubeObject,
  parseDestinationRule,
  parseGateway,
  parsePeerAuthentication,
  parseVirtualService,
} from "../../src/api/index.ts";

/** What Istio's pkg/config/validation takes and refuses. */
type Row = readonly [name: string, spec: object, refusal?: RegExp];

function check(kind: string, parse: (object: KubeObject) => unknown, rows: readonly Row[]): void {
  for (const [name, spec, refusal] of rows) {
    test(`${kind}: ${name} is ${refusal === undefined ? "taken" : "refused by path"}`, () => {
      const object = { apiVersion: "v1", kind, metadata: { name: "a" }, spec };
      if (refusal === undefined) parse(object);
      else assert.throws(() => parse(object), { code: "SERIN_INVALID_RESOURCE", message: refusal });
    });
  }
}

const to = (host: string, weight?: number): object => ({ destination: { host }, weight });
const route = [to("a")];
const fault = { abort: { httpStatus: 500 } };
const redirect = { uri: "/" };
const http = (...routes: readonly object[]): object => ({ hosts: ["a"], http: routes });
const retries = (more: object): object => http({ route, retries: more });
const match = (more: object): object => http({ route, match: [more] });
const HTTP = (field: string, said = ".*"): RegExp =>
  new RegExp(`spec\\.http\\[0\\]\\.?${field.replaceAll(/[.[\]]/g, "\\$&")}: ${said}`);

check("VirtualService", parseVirtualService, [
  ["weights above 100", http({ route: [to("a", 130)] })],
  ["weights that add up to more than 100", http({ route: [to("a", 60), to("b", 60)] })],
  ["a single weight of 0", http({ route: [to("a", 0)] })],
  ["what is delegated to", { http: [{ route }] }],
  ["a root that delegates", http({ delegate: { name: "child" } })],
  ["a wildcard", { hosts: ["*.shop.dev", "shop.dev", "10.0.0.1"], http: [{ route }] }],
  ["hosts twice", { hosts: ["a", "a"], http: [{ route }] }, /spec\.hosts\[1\]: duplicate host/],
  [
    "hosts that a wildcard has already",
    { hosts: ["*.dev", "a.dev"], http: [{ route }] },
    /spec\.hosts\[1\]: duplicate host: a\.dev and \*\.dev/,
  ],
  [
    "a host that is none",
    { hosts: ["a_b!"], http: [{ route }] },
    /spec\.hosts\[0\]: must be a host/,
  ],
  ["no routes", { hosts: ["a"] }, /spec: must have http, tls or tcp/],
  ["gateways without hosts", { gateways: ["g"], http: [{ route }] }, /spec\.gateways: cannot/],
  ["a delegate that delegates", { http: [{ delegate: {} }] }, HTTP("delegate", "cannot")],
  ["delegate and route", http({ route, delegate: {} }), HTTP("route", "cannot.*delegate")],
  ["route and redirect", http({ route, redirect }), HTTP("redirect", ".*both route and redirect")],
  ["fault and redirect", http({ fault, redirect }), HTTP("fault", "cannot.*redirect")],
  ["rewrite and redirect", http({ rewrite: redirect, redirect }), HTTP("rewrite", "cannot")],
  [
    "route and directResponse",
    http({ route, directResponse: { status: 200 } }),
    HTTP("directResponse"),
  ],
  ["fault and directResponse", http({ fault, directResponse: { status: 200 } }), HTTP("fault")],
  [
    "redirect and directResponse",
    http({ redirect, directResponse: { status: 200 } }),
    HTTP("directResponse", "cannot.*redirect"),
  ],
  [
    "mirror and mirrors",
    http({ route, mirror: { host: "b" }, mirrors: [{ destination: { host: "b" } }] }),
    HTTP("mirrors", "cannot.*mirror"),
  ],
  ["a redirect to the same place", http({ redirect: {} }), HTTP("redirect", "must have")],
  [
    "a redirect code that is none",
    http({ redirect: { uri: "/", redirectCode: 200 } }),
    HTTP("redirect.redirectCode"),
  ],
  ["a redirect code of Envoy's", http({ redirect: { uri: "/", redirectCode: 308 } })],
  [
    "a redirect scheme that is none",
    http({ redirect: { scheme: "ftp" } }),
    HTTP("redirect.scheme"),
  ],
  [
    "a uri with uriRegexRewrite",
    http({ route, rewrite: { uri: "/", uriRegexRewrite: { match: "a", rewrite: "b" } } }),
    HTTP("rewrite.uriRegexRewrite", "cannot"),
  ],
  ["a rewrite of nothing", http({ route, rewrite: {} }), HTTP("rewrite", "must have")],
  [
    "a rewrite by half an expression",
    http({ route, rewrite: { uriRegexRewrite: { match: "a(", rewrite: "b" } } }),
    HTTP("rewrite.uriRegexRewrite.match", "must be an RE2"),
  ],
  ["retries with every condition", retries({ attempts: 1, retryOn: "5xx,503,unavailable" })],
  ["retries switched off", retries({ attempts: 0 })],
  [
    "an unknown condition",
    retries({ attempts: 1, retryOn: "5xx,5xxx" }),
    HTTP("retries.retryOn", '"5xxx"'),
  ],
  ["a condition after a space", retries({ attempts: 1, retryOn: "5xx, reset" })],
  ["retryOn without attempts", retries({ retryOn: "5xx" }), HTTP("retries.attempts")],
  [
    "perTryTimeout without attempts",
    retries({ attempts: 0, perTryTimeout: "1s" }),
    HTTP("retries.attempts"),
  ],
  ["a fault without a kind", http({ route, fault: {} }), HTTP("fault", "must have")],
  [
    "an unknown gRPC status",
    http({ route, fault: { abort: { grpcStatus: "BAD" } } }),
    HTTP("fault.abort.grpcStatus"),
  ],
  [
    "an abort of HTTP/2",
    http({ route, fault: { abort: { http2Error: "X" } } }),
    HTTP("fault.abort.http2Error"),
  ],
  [
    "an exponential delay",
    http({ route, fault: { delay: { exponentialDelay: "1s" } } }),
    HTTP("fault.delay.exponentialDelay"),
  ],
  [
    "a share too small to tell",
    http({ route, fault: { abort: { percentage: { value: 0.00001 } } } }),
    HTTP("fault.abort.percentage.value"),
  ],
  ["a timeout of 1.1s", http({ route, timeout: "1.1s" })],
  ["a timeout of nothing", http({ route, timeout: "0s" }), HTTP("timeout", "must be 1ms or more")],
  ["a negative timeout", http({ route, timeout: "-1s" }), HTTP("timeout", "must be 1ms or more")],
  ["a timeout below 1ms", http({ route, timeout: "10us" }), HTTP("timeout", "must be 1ms or more")],
  ["a timeout of 1.5ms", http({ route, timeout: "1.5ms" }), HTTP("timeout", "must be in whole")],
  [
    "maxAge below seconds",
    http({ route, corsPolicy: { maxAge: "1500ms" } }),
    HTTP("corsPolicy.maxAge"),
  ],
  ["an expression", match({ uri: { regex: "^/(?P<id>[[:alnum:]]+)/\\d{1,3}$" } })],
  ["an empty path prefix", match({ uri: { prefix: "" } })],
  [
    "an empty prefix of a method",
    match({ method: { prefix: "" } }),
    HTTP("match[0].method.prefix"),
  ],
  [
    "half an expression",
    match({ uri: { regex: "/(a" } }),
    HTTP("match[0].uri.regex", "must be an RE2"),
  ],
  ["no expression", match({ uri: { regex: "" } }), HTTP("match[0].uri.regex", "must be an RE2")],
  [
    "a look-ahead",
    match({ headers: { h: { regex: "a(?=b)" } } }),
    HTTP("match[0].headers.h.regex"),
  ],
  ["a header's presence", match({ headers: { h: { regex: "*" } } })],
  ["a header's absence", match({ withoutHeaders: { h: { regex: "*" } } })],
  ["a port that is none", match({ port: 70_000 }), HTTP("match[0].port")],
  [
    "a subset that is none",
    http({ route: [{ destination: { host: "a", subset: "v_1" } }] }),
    HTTP("route[0].destination.subset"),
  ],
  ["every host as destination", http({ route: [to("*")] }), HTTP("route[0].destination.host")],
  ["tcp", { hosts: ["a"], tcp: [{ route: [to("a", 1), to("b", 0)] }] }],
  ["tcp without a route", { hosts: ["a"], tcp: [{ route: [] }] }, /spec\.tcp\[0\]\.route/],
  [
    "tcp weights of nothing",
    { hosts: ["a"], tcp: [{ route: [to("a", 0), to("b")] }] },
    /spec\.tcp\[0\]\.route: total destination weight/,
  ],
]);

const policy = (trafficPolicy: object): object => ({ host: "a", trafficPolicy });
const hash = (more: object): object => policy({ loadBalancer: { consistentHash: more } });
const locality = (more: object): object => policy({ loadBalancer: { localityLbSetting: more } });
const POLICY = (field: string, said = ".*"): RegExp =>
  new RegExp(`spec\\.trafficPolicy\\.?${field.replaceAll(/[.[\]]/g, "\\$&")}: ${said}`);
const from = "eu/*";

check("DestinationRule", parseDestinationRule, [
  ["a policy of nothing", policy({}), POLICY("", "must have at least one field")],
  ["a pool of nothing", policy({ connectionPool: {} }), POLICY("connectionPool", "must have tcp")],
  ["a pool", policy({ connectionPool: { http: {} } })],
  [
    "keep-alive of HTTP/2",
    policy({ connectionPool: { http: { http2KeepAlive: { interval: "15s", timeout: "5s" } } } }),
  ],
  [
    "UPGRADE with useClientProtocol",
    policy({ connectionPool: { http: { h2UpgradePolicy: "UPGRADE", useClientProtocol: true } } }),
    POLICY("connectionPool.http.useClientProtocol", "cannot"),
  ],
  [
    "local failures that are not split off",
    policy({ outlierDetection: { consecutiveLocalOriginFailures: 3 } }),
    POLICY("outlierDetection.consecutiveLocalOriginFailures", "needs"),
  ],
  ["local failures of 0", policy({ outlierDetection: { consecutiveLocalOriginFailures: 0 } })],
  [
    "simple with consistentHash",
    policy({ loadBalancer: { simple: "RANDOM", consistentHash: { useSourceIp: true } } }),
    POLICY("loadBalancer.consistentHash", "cannot.*simple"),
  ],
  ["a session cookie", hash({ httpCookie: { name: "c", ttl: "0s" } })],
  ["a hash of nothing", hash({}), POLICY("loadBalancer.consistentHash", "must set exactly one")],
  [
    "a hash of two",
    hash({ useSourceIp: true, httpHeaderName: "x" }),
    POLICY("loadBalancer.consistentHash"),
  ],
  [
    "ringHash with maglev",
    hash({ useSourceIp: true, ringHash: {}, maglev: { tableSize: 65_537 } }),
    POLICY("loadBalancer.consistentHash.maglev", "cannot"),
  ],
  [
    "a table of no prime size",
    hash({ useSourceIp: true, maglev: { tableSize: 10 } }),
    POLICY("loadBalancer.consistentHash.maglev.tableSize"),
  ],
  ["a distribution", locality({ distribute: [{ from, to: { "eu/a": 80, "eu/b": 20 } }] })],
  [
    "a distribution of less than everything",
    locality({ distribute: [{ from, to: { "eu/a": 80, "eu/b": 10 } }] }),
    POLICY("loadBalancer.localityLbSetting.distribute[0].to", ".*100 \\(found 90\\)"),
  ],
  [
    "a distribution with a failover",
    locality({ distribute: [{ from, to: { eu: 100 } }], failover: [{ from: "eu", to: "us" }] }),
    POLICY("loadBalancer.localityLbSetting.failover", "cannot"),
  ],
  [
    "a failover to itself",
    locality({ failover: [{ from: "eu", to: "eu" }] }),
    POLICY("loadBalancer.localityLbSetting.failover[0].to"),
  ],
  [
    "settings of no port",
    policy({ portLevelSettings: [{ tls: { mode: "DISABLE" } }] }),
    POLICY("portLevelSettings[0].port"),
  ],
  [
    "no settings of a port",
    policy({ portLevelSettings: [{ port: { number: 80 } }] }),
    POLICY("portLevelSettings[0]", "must have"),
  ],
  ["MUTUAL by reference", policy({ tls: { mode: "MUTUAL", credentialName: "c" } })],
  [
    "MUTUAL without a certificate",
    policy({ tls: { mode: "MUTUAL", privateKey: "k" } }),
    POLICY("tls.clientCertificate", "mode MUTUAL needs"),
  ],
  [
    "MUTUAL without a key",
    policy({ tls: { mode: "MUTUAL", clientCertificate: "c" } }),
    POLICY("tls.privateKey", "mode MUTUAL needs"),
  ],
  [
    "two credentials",
    policy({ tls: { mode: "MUTUAL", credentialName: "c", privateKey: "k" } }),
    POLICY("tls.privateKey", "cannot"),
  ],
  [
    "a subset that is no label",
    { host: "a", subsets: [{ name: "v.1" }] },
    /spec\.subsets\[0\]\.name/,
  ],
  ["a host that is none", { host: "a b" }, /spec\.host: must be a host name/],
]);

const server = (more: object, port: object = {}): object => ({
  port: { number: 80, name: "http", protocol: "HTTP", ...port },
  hosts: ["*"],
  ...more,
});
const https = { name: "https", protocol: "https" };
const servers = (...list: readonly object[]): object => ({ servers: list });

check("Gateway", parseGateway, [
  ["no servers", {}, /spec\.servers/],
  ["an empty list of servers", servers(), /spec\.servers/],
  [
    "two ports",
    servers(server({}), server({ tls: { mode: "SIMPLE", credentialName: "c" } }, https)),
  ],
  [
    "two ports of one name",
    servers(server({}), server({})),
    /spec\.servers\[1\]\.port\.name: duplicate/,
  ],
  [
    "a port without a name",
    servers(server({}, { name: undefined })),
    /spec\.servers\[0\]\.port\.name/,
  ],
  [
    "an unknown protocol",
    servers(server({}, { protocol: "HTTQ" })),
    /servers\[0\]\.port\.protocol: must/,
  ],
  ["HTTPS without tls", servers(server({}, https)), /servers\[0\]\.tls: is required/],
  ["a redirect to HTTPS", servers(server({ tls: { httpsRedirect: true } }))],
  [
    "certificates on plain HTTP",
    servers(server({ tls: { mode: "SIMPLE", credentialName: "c" } })),
    /servers\[0\]\.tls: cannot/,
  ],
  [
    "TLS on plain TCP",
    servers(server({ tls: {} }, { protocol: "TCP" })),
    /servers\[0\]\.tls: cannot/,
  ],
  [
    "SIMPLE without a certificate",
    servers(server({ tls: { mode: "SIMPLE" } }, https)),
    /servers\[0\]\.tls\.serverCertificate: mode SIMPLE needs.*tls\.privateKey/,
  ],
  [
    "MUTUAL without a CA",
    servers(server({ tls: { mode: "MUTUAL", serverCertificate: "c", privateKey: "k" } }, https)),
    /servers\[0\]\.tls\.caCertificates: mode MUTUAL needs/,
  ],
  [
    "a certificate of its own with ISTIO_MUTUAL",
    servers(server({ tls: { mode: "ISTIO_MUTUAL", credentialName: "c" } }, https)),
    /servers\[0\]\.tls\.credentialName: cannot/,
  ],
]);

const selector = { matchLabels: { app: "a" } };
check("PeerAuthentication", parsePeerAuthentication, [
  ["a port", { selector, portLevelMtls: { "65535": { mode: "DISABLE" } } }],
  [
    "a port that is none",
    { selector, portLevelMtls: { "70000": {} } },
    /spec\.portLevelMtls\["70000"\]: must/,
  ],
  ["no port", { selector, portLevelMtls: {} }, /spec\.portLevelMtls: must have/],
]);

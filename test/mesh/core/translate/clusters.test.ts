import assert from "node:assert/strict";
import { test } from "node:test";
import { createTranslator } from "../../../../src/mesh/core/translate.ts";
import { CLUSTER_TYPE, ENDPOINT_TYPE } from "../../../../src/xds/index.ts";
import { namesOf, resourceJson } from "../support/accept.ts";
import {
  bookinfo,
  destinationRule,
  mesh,
  type PodOptions,
  reviewsSubsets,
  service,
} from "../support/objects.ts";
import { type Json, modelOf, nodeOf, PRODUCTPAGE, translated } from "../support/translated.ts";

const HOST = "reviews.default.svc.cluster.local";
const cluster = (objects: Parameters<typeof translated>[0], name = `outbound|9080||${HOST}`) =>
  resourceJson(translated(objects), "envoy.config.cluster.v3.Cluster", name) as Json;
const assignment = (objects: Parameters<typeof translated>[0], name: string) =>
  resourceJson(translated(objects), "envoy.config.endpoint.v3.ClusterLoadAssignment", name) as Json;

const UNLIMITED = {
  max_connections: 4294967295,
  max_pending_requests: 4294967295,
  max_requests: 4294967295,
  max_retries: 4294967295,
  track_remaining: true,
};
const ADS = { ads: {}, initial_fetch_timeout: "0s", resource_api_version: "V3" };

test("names clusters as Istio does: each port whole and per subset, and the pod's own", () => {
  const set = translated(mesh(bookinfo(), { destinationRules: [reviewsSubsets()] }));
  assert.deepEqual(namesOf(set, CLUSTER_TYPE), [
    "BlackHoleCluster",
    "PassthroughCluster",
    "inbound|9080||",
    `outbound|9080|v1|${HOST}`,
    `outbound|9080|v2|${HOST}`,
    `outbound|9080|v3|${HOST}`,
    "outbound|9080||productpage.default.svc.cluster.local",
    `outbound|9080||${HOST}`,
  ]);
});

test("a subset's cluster, with mutual TLS to who can take it", () => {
  const name = `outbound|9080|v1|${HOST}`;
  const objects = mesh(bookinfo(), { destinationRules: [reviewsSubsets()] });
  assert.deepEqual(cluster(objects, name), {
    name,
    type: "EDS",
    eds_cluster_config: { eds_config: ADS, service_name: name },
    connect_timeout: "10s",
    lb_policy: "LEAST_REQUEST",
    circuit_breakers: { thresholds: [UNLIMITED] },
    transport_socket_matches: [
      {
        name: "tlsMode-istio",
        match: { tlsMode: "istio" },
        transport_socket: {
          name: "envoy.transport_sockets.tls",
          typed_config: {
            "@type":
              "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            sni: `outbound_.9080_.v1_.${HOST}`,
            common_tls_context: {
              tls_params: { tls_minimum_protocol_version: "TLSv1_2" },
              tls_certificate_sds_secret_configs: [{ name: "default", sds_config: ADS }],
              combined_validation_context: {
                default_validation_context: {
                  match_typed_subject_alt_names: [
                    {
                      san_type: "URI",
                      matcher: { exact: "spiffe://cluster.local/ns/default/sa/bookinfo-reviews" },
                    },
                  ],
                },
                validation_context_sds_secret_config: { name: "ROOTCA", sds_config: ADS },
              },
              alpn_protocols: ["istio-http/1.1", "istio", "http/1.1"],
            },
          },
        },
      },
      {
        name: "tlsMode-disabled",
        match: {},
        transport_socket: {
          name: "envoy.transport_sockets.raw_buffer",
          typed_config: {
            "@type":
              "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
          },
        },
      },
    ],
    metadata: {
      filter_metadata: {
        istio: {
          config: "/apis/networking.istio.io/v1/namespaces/default/destination-rule/reviews",
          services: [{ host: HOST, name: "reviews", namespace: "default" }],
          subset: "v1",
        },
      },
    },
  });
});

test("a subset's endpoints: the ready pods with its labels, and who they are", () => {
  const name = `outbound|9080|v2|${HOST}`;
  const objects = mesh(bookinfo(), { destinationRules: [reviewsSubsets()] });
  assert.deepEqual(assignment(objects, name), {
    cluster_name: name,
    endpoints: [
      {
        locality: {},
        load_balancing_weight: 1,
        lb_endpoints: [
          {
            endpoint: {
              address: { socket_address: { address: "127.16.0.4", port_value: 9080 } },
            },
            load_balancing_weight: 1,
            metadata: {
              filter_metadata: {
                "envoy.transport_socket_match": { tlsMode: "istio" },
                istio: { workload: "reviews-v2;default;reviews;v2;Kubernetes" },
              },
            },
          },
        ],
      },
    ],
  });
});

test("endpoints that are not ready are not sent, pods without sidecar get plain text", () => {
  const pods: PodOptions[] = [
    { name: "a-1-x", ip: "10.0.0.1", isReady: false },
    { name: "a-1-y", ip: "10.0.0.2", hasSidecar: false },
  ];
  const name = "outbound|80||a.default.svc.cluster.local";
  const objects = mesh(service({ name: "a", ports: [{ port: 80, targetPort: 8080 }], pods }));
  const [locality] = assignment(objects, name)["endpoints"] as { lb_endpoints: Json[] }[];
  assert.deepEqual(locality?.lb_endpoints, [
    {
      endpoint: { address: { socket_address: { address: "10.0.0.2", port_value: 8080 } } },
      load_balancing_weight: 1,
      metadata: { filter_metadata: { istio: { workload: "a;default;a;latest;Kubernetes" } } },
    },
  ]);
});

test("a service without pods has an empty assignment, so that clusters do not wait for it", () => {
  const name = "outbound|80||a.default.svc.cluster.local";
  const objects = mesh(service({ name: "a", ports: [{ port: 80 }], pods: [] }));
  assert.deepEqual(assignment(objects, name), { cluster_name: name });
});

const policy = (trafficPolicy: object, subset: object = {}) =>
  mesh(bookinfo(), {
    destinationRules: [
      destinationRule(
        { name: "reviews" },
        {
          host: "reviews",
          trafficPolicy,
          subsets: [{ name: "v1", labels: { version: "v1" }, ...subset }],
        },
      ),
    ],
  });

for (const [simple, expected] of [
  ["ROUND_ROBIN", undefined],
  ["LEAST_REQUEST", "LEAST_REQUEST"],
  ["LEAST_CONN", "LEAST_REQUEST"],
  ["RANDOM", "RANDOM"],
  ["UNSPECIFIED", "LEAST_REQUEST"],
] as const) {
  test(`load balancer ${simple}`, () => {
    // ROUND_ROBIN is protobuf's default, which JSON leaves out.
    assert.equal(cluster(policy({ loadBalancer: { simple } }))["lb_policy"], expected);
  });
}

test("connection pools become circuit breakers and protocol options", () => {
  const made = cluster(
    policy({
      connectionPool: {
        tcp: { maxConnections: 100, connectTimeout: "30ms" },
        http: {
          http1MaxPendingRequests: 50,
          http2MaxRequests: 70,
          maxRequestsPerConnection: 2,
          maxRetries: 3,
          idleTimeout: "1m",
        },
      },
    }),
  );
  assert.equal(made["connect_timeout"], "0.03s");
  assert.deepEqual(made["circuit_breakers"], {
    thresholds: [
      {
        max_connections: 100,
        max_pending_requests: 50,
        max_requests: 70,
        max_retries: 3,
        track_remaining: true,
      },
    ],
  });
  assert.deepEqual(made["typed_extension_protocol_options"], {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      common_http_protocol_options: { idle_timeout: "60s", max_requests_per_connection: 2 },
      explicit_http_config: { http_protocol_options: {} },
    },
  });
});

const OUTLIERS: readonly (readonly [string, object, object])[] = [
  [
    "the textbook's consecutiveErrors",
    { consecutiveErrors: 5, interval: "30s", baseEjectionTime: "30s", maxEjectionPercent: 50 },
    {
      consecutive_5xx: 5,
      enforcing_consecutive_5xx: 100,
      interval: "30s",
      base_ejection_time: "30s",
      max_ejection_percent: 50,
    },
  ],
  [
    "today's fields",
    { consecutive5xxErrors: 7, consecutiveGatewayErrors: 3 },
    {
      consecutive_5xx: 7,
      enforcing_consecutive_5xx: 100,
      consecutive_gateway_failure: 3,
      enforcing_consecutive_gateway_failure: 100,
    },
  ],
  [
    "0 switches off",
    { consecutive5xxErrors: 0, consecutiveGatewayErrors: 0 },
    { enforcing_consecutive_5xx: 0, enforcing_consecutive_gateway_failure: 0 },
  ],
  [
    "local errors apart",
    { splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 4 },
    {
      split_external_local_origin_errors: true,
      consecutive_local_origin_failure: 4,
      enforcing_consecutive_local_origin_failure: 100,
    },
  ],
];
for (const [what, outlierDetection, expected] of OUTLIERS) {
  test(`outlier detection: ${what}`, () => {
    const made = cluster(policy({ outlierDetection }));
    assert.deepEqual(made["outlier_detection"], { ...expected, enforcing_success_rate: 0 });
    assert.deepEqual(made["common_lb_config"], { healthy_panic_threshold: {} });
  });
}

test("a subset overrides block by block, a port's settings replace everything", () => {
  const objects = policy(
    {
      loadBalancer: { simple: "RANDOM" },
      connectionPool: { tcp: { maxConnections: 9 } },
      portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: "ROUND_ROBIN" } }],
    },
    { trafficPolicy: { loadBalancer: { simple: "ROUND_ROBIN" } } },
  );
  const maxConnections = (made: Json) =>
    (made["circuit_breakers"] as { thresholds: Json[] }).thresholds[0]?.["max_connections"];
  const whole = cluster(objects);
  const subset = cluster(objects, `outbound|9080|v1|${HOST}`);
  assert.deepEqual([whole["lb_policy"], maxConnections(whole)], ["RANDOM", 9]);
  assert.deepEqual([subset["lb_policy"], maxConnections(subset)], [undefined, 9]);
  const ofPort = cluster(
    policy({
      loadBalancer: { simple: "RANDOM" },
      connectionPool: { tcp: { maxConnections: 9 } },
      portLevelSettings: [{ port: { number: 9080 }, connectionPool: { http: { maxRetries: 1 } } }],
    }),
  );
  assert.deepEqual([ofPort["lb_policy"], maxConnections(ofPort)], ["LEAST_REQUEST", 4294967295]);
});

const TLS_MODES: readonly (readonly [string, object, "matches" | "mesh" | "own" | "none"])[] = [
  ["not set", {}, "matches"],
  ["DISABLE", { tls: { mode: "DISABLE" } }, "none"],
  ["left out of settings", { tls: {} }, "none"],
  ["ISTIO_MUTUAL", { tls: { mode: "ISTIO_MUTUAL" } }, "mesh"],
  ["SIMPLE", { tls: { mode: "SIMPLE", sni: "x.example", caCertificates: "/ca.pem" } }, "own"],
  [
    "MUTUAL",
    {
      tls: {
        mode: "MUTUAL",
        clientCertificate: "/c.pem",
        privateKey: "/k.pem",
        caCertificates: "/ca.pem",
      },
    },
    "own",
  ],
];
for (const [mode, trafficPolicy, expected] of TLS_MODES) {
  test(`TLS mode ${mode} of a DestinationRule`, () => {
    const made = cluster(policy(trafficPolicy));
    const socket = (made["transport_socket"] as Json | undefined)?.["typed_config"] as
      | { common_tls_context: Json }
      | undefined;
    const hasMatches = made["transport_socket_matches"] !== undefined;
    const kind = hasMatches
      ? "matches"
      : socket === undefined
        ? "none"
        : socket.common_tls_context["tls_certificate_sds_secret_configs"] === undefined
          ? "own"
          : "mesh";
    assert.equal(kind, expected);
  });
}

test("HTTP/2 ports are spoken to in HTTP/2", () => {
  const objects = mesh(service({ name: "a", ports: [{ port: 80, name: "grpc" }], pods: [] }));
  const made = cluster(objects, "outbound|80||a.default.svc.cluster.local");
  const [options] = Object.values(made["typed_extension_protocol_options"] as Json) as Json[];
  assert.deepEqual(options?.["explicit_http_config"], { http2_protocol_options: {} });
});

test("an ExternalName service is looked up by DNS, without mutual TLS", () => {
  const objects = mesh({
    services: [
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "ext", namespace: "default" },
        spec: {
          type: "ExternalName",
          externalName: "api.example.com",
          ports: [{ port: 80, name: "http" }],
        },
      },
    ],
  });
  const made = cluster(objects, "outbound|80||ext.default.svc.cluster.local");
  assert.equal(made["type"], "STRICT_DNS");
  assert.equal(made["transport_socket_matches"], undefined);
  assert.match(JSON.stringify(made["load_assignment"]), /api\.example\.com/);
  assert.deepEqual(namesOf(translated(objects), ENDPOINT_TYPE), []);
});

test("an ExternalName that is a service of the mesh leads to its pods, with mutual TLS", () => {
  const alias = (externalName: string) => ({
    services: [
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "alias", namespace: "default" },
        spec: { type: "ExternalName", externalName, ports: [{ port: 9080, name: "http" }] },
      },
    ],
  });
  const name = "outbound|9080||alias.default.svc.cluster.local";
  const objects = mesh(bookinfo(), alias(`${HOST}.`));
  assert.equal(cluster(objects, name)["type"], "EDS");
  assert.match(JSON.stringify(cluster(objects, name)), /sa\/bookinfo-reviews/);
  assert.match(JSON.stringify(assignment(objects, name)), /127\.16\.0\.5/);
});

test("the pod's own cluster leads to the application's address", () => {
  const made = cluster(bookinfo(), "inbound|9080||");
  assert.equal(made["type"], "STATIC");
  assert.deepEqual((made["load_assignment"] as Json)["endpoints"], [
    {
      lb_endpoints: [
        {
          endpoint: { address: { socket_address: { address: "127.48.0.2", port_value: 9080 } } },
        },
      ],
    },
  ]);
});

test("a pod behind several services belongs to the oldest one", () => {
  const pods = [{ name: "reviews-primary-1-x", ip: "127.16.0.30" }];
  const of = (name: string, createdAt: string) =>
    service({ name, createdAt, ports: [{ port: 9080, name: "http" }], pods });
  const objects = mesh(
    of("reviews-primary", "2026-02-02T00:00:00Z"),
    of("reviews", "2026-02-01T00:00:00Z"),
  );
  const set = translated(objects, nodeOf("reviews-primary-1-x", "127.16.0.30"));
  const made = resourceJson(set, "envoy.config.cluster.v3.Cluster", "inbound|9080||") as Json;
  const { istio } = (made["metadata"] as { filter_metadata: { istio: { services: Json[] } } })
    .filter_metadata;
  assert.deepEqual(
    istio.services.map((each) => each["name"]),
    ["reviews", "reviews-primary"],
  );
});

test("without an application address the application is on 127.0.0.1", () => {
  const node = nodeOf("productpage-v1-6b4c8d7f9-qwert", "127.16.0.2");
  const set = translated(bookinfo(), node);
  const made = resourceJson(set, "envoy.config.cluster.v3.Cluster", "inbound|9080||");
  assert.match(JSON.stringify(made), /"address":"127\.0\.0\.1"/);
});

test("what did not change keeps its object from one model to the next", () => {
  const before = createTranslator(modelOf(bookinfo()), { accessLog: false });
  const first = before.resourcesFor(PRODUCTPAGE);
  const after = before.next(modelOf(mesh(bookinfo(), { destinationRules: [reviewsSubsets()] })));
  const second = after.resourcesFor(PRODUCTPAGE);
  const name = "outbound|9080||productpage.default.svc.cluster.local";
  assert.equal(first.get(CLUSTER_TYPE)?.get(name), second.get(CLUSTER_TYPE)?.get(name));
  const reviews = `outbound|9080||${HOST}`;
  assert.notEqual(
    first.get(CLUSTER_TYPE)?.get(reviews)?.version,
    second.get(CLUSTER_TYPE)?.get(reviews)?.version,
    "its metadata names the rule now",
  );
  assert.equal(first.get(ENDPOINT_TYPE)?.get(reviews), second.get(ENDPOINT_TYPE)?.get(reviews));
});

test("a hundred proxies share what they have in common", () => {
  const translator = createTranslator(modelOf(bookinfo()), { accessLog: false });
  const name = `outbound|9080||${HOST}`;
  const objects = new Set(
    Array.from({ length: 100 }, (_, i) =>
      translator
        .resourcesFor(nodeOf(`pod-${i}`, `127.17.0.${i + 1}`))
        .get(CLUSTER_TYPE)
        ?.get(name),
    ),
  );
  assert.equal(objects.size, 1);
});

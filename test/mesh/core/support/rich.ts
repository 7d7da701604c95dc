const to = (subset: string, weight: number) => ({
  destination: { host: "reviews", subset },
  weight,
});

/** A VirtualService of reviews with everything that our proxy takes. */
export const RICH_VIRTUAL_SERVICE = {
  hosts: ["reviews", "reviews.example.com", "*.wild.example.com"],
  http: [
    {
      match: [{ uri: { prefix: "/old" } }],
      redirect: { uri: "/new", authority: "x.example", redirectCode: 302 },
    },
    {
      match: [{ uri: { exact: "/teapot" } }],
      directResponse: { status: 418, body: { string: "x".repeat(10_000) } },
    },
    {
      match: [
        { uri: { regex: "/a/[0-9]+" }, method: { exact: "GET" } },
        { authority: { prefix: "rev" }, withoutHeaders: { user: { regex: "j.*" } } },
        {
          headers: { user: {}, cookie: { regex: ".*x=(1|2).*" } },
          scheme: { exact: "http" },
        },
      ],
      rewrite: { authority: "api.example" },
      timeout: "3s",
      retries: {
        attempts: 3,
        perTryTimeout: "1s",
        retryOn: "5xx,reset,connect-failure,503",
        backoff: "10ms",
      },
      headers: {
        request: { set: { a: "1" }, add: { b: "100%%" }, remove: ["c"] },
        response: { set: { d: "1" } },
      },
      route: [
        { ...to("v1", 80), headers: { request: { set: { v: "1" } } } },
        to("v2", 15),
        to("v3", 5),
      ],
      corsPolicy: {
        allowOrigins: [{ exact: "https://a.example" }, { regex: "https://.*" }],
        allowOrigin: ["*"],
        allowMethods: ["GET", "POST"],
        allowHeaders: ["x-token"],
        exposeHeaders: ["x-seen"],
        maxAge: "24h",
        allowCredentials: true,
        unmatchedPreflights: "IGNORE",
      },
      mirrors: [{ destination: { host: "reviews", subset: "v3" }, percentage: { value: 0.5 } }],
    },
    {
      match: [{ queryParams: { a: { exact: "" }, b: { regex: "\\d+" }, c: {} } }],
      fault: {
        delay: { fixedDelay: "1s", percentage: { value: 10 } },
        abort: { httpStatus: 503, percentage: { value: 1 } },
      },
      route: [to("v1", 1)],
    },
    { match: [{ uri: { prefix: "/hashed" } }], route: [to("ring", 50), to("maglev", 50)] },
    { match: [{ uri: { prefix: "/api/" } }], rewrite: { uri: "/" }, route: [to("v1", 1)] },
    { route: [to("v1", 90), to("v2", 10)] },
  ],
};

/** A DestinationRule of reviews with every policy. */
export const RICH_DESTINATION_RULE = {
  host: "reviews",
  trafficPolicy: {
    loadBalancer: { simple: "ROUND_ROBIN" },
    connectionPool: {
      tcp: { maxConnections: 100, connectTimeout: "1s" },
      http: {
        http1MaxPendingRequests: 50,
        maxRequestsPerConnection: 2,
        idleTimeout: "10s",
      },
    },
    outlierDetection: {
      consecutiveErrors: 5,
      consecutiveGatewayErrors: 0,
      interval: "30s",
      baseEjectionTime: "30s",
      maxEjectionPercent: 50,
      minHealthPercent: 30,
    },
  },
  subsets: [
    { name: "v1", labels: { version: "v1" }, trafficPolicy: { tls: { mode: "DISABLE" } } },
    {
      name: "ring",
      labels: { version: "v1" },
      trafficPolicy: {
        loadBalancer: {
          consistentHash: {
            httpCookie: { name: "session", path: "/", ttl: "60s" },
            ringHash: { minimumRingSize: 512 },
          },
        },
      },
    },
    {
      name: "maglev",
      labels: { version: "v1" },
      trafficPolicy: {
        loadBalancer: { consistentHash: { useSourceIp: true, maglev: { tableSize: 251 } } },
      },
    },
    {
      name: "v2",
      labels: { version: "v2" },
      trafficPolicy: { tls: { mode: "ISTIO_MUTUAL" } },
    },
    {
      name: "v3",
      labels: { version: "v3" },
      trafficPolicy: { tls: { mode: "SIMPLE", sni: "x.example" } },
    },
  ],
};

import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, get, type IncomingMessage } from "node:http";
import { type TestContext, test } from "node:test";
import { FORWARDED_HEADERS } from "../../examples/bookinfo/forwarded-headers.ts";
import { listen, spawnService, startService, upstream } from "./service-process.ts";

const RATINGS = JSON.stringify({ id: 0, ratings: { Reviewer1: 5, Reviewer2: 4 } });

/** A port where nobody listens any more. */
async function closedPort(t: TestContext): Promise<number> {
  const service = await startService(t, "ratings");
  service.child.kill("SIGKILL");
  await once(service.child, "exit");
  return service.port;
}

const STARS: readonly (readonly [string, unknown])[] = [
  ["v1", undefined],
  ["v2", { stars: 5, color: "black" }],
  ["v3", { stars: 5, color: "red" }],
];
for (const [version, rating] of STARS) {
  test(`reviews ${version} says who it is and shows its stars`, async (t) => {
    const ratings = await startService(t, "ratings");
    const reviews = await startService(t, "reviews", {
      SERVICE_VERSION: version,
      HOSTNAME: `reviews-${version}-abc`,
      ...upstream("ratings", ratings.port),
    });
    const response = await fetch(`${reviews.url}/reviews/0`);
    const body = (await response.json()) as Record<string, unknown> & {
      reviews: { reviewer: string; rating?: unknown }[];
    };
    assert.equal(response.status, 200);
    assert.deepEqual(
      [body["id"], body["version"], body["podname"]],
      ["0", version, `reviews-${version}-abc`],
    );
    assert.equal(body.reviews.length, 2);
    assert.deepEqual(body.reviews[0]?.rating, rating);
  });
}

test("the whole application: a page with details, reviews and stars", async (t) => {
  const [ratings, details] = [await startService(t, "ratings"), await startService(t, "details")];
  const reviews = await startService(t, "reviews", {
    SERVICE_VERSION: "v3",
    ...upstream("ratings", ratings.port),
  });
  const page = await startService(t, "productpage", {
    ...upstream("details", details.port),
    ...upstream("reviews", reviews.port),
    ...upstream("ratings", ratings.port),
  });
  const html = await (await fetch(`${page.url}/productpage`)).text();
  assert.match(html, /The Comedy of Errors/);
  assert.match(html, /William Shakespeare/);
  assert.match(html, /class="stars red"[^>]*>★★★★☆/);
  assert.match(html, /version <strong>v3</);
  const stylesheet = await fetch(`${page.url}/static/bookinfo.css`);
  assert.equal(stylesheet.headers.get("content-type"), "text/css; charset=utf-8");
  const products = (await (await fetch(`${page.url}/api/v1/products`)).json()) as unknown[];
  assert.equal(products.length, 1);
  for (const [path, field] of [
    ["0", "author"],
    ["0/reviews", "reviews"],
    ["0/ratings", "ratings"],
  ] as const) {
    const response = await fetch(`${page.url}/api/v1/products/${path}`);
    assert.ok(field in ((await response.json()) as object), path);
  }
  const statuses = [];
  for (const path of ["/nothing", "/api/v1/products/x", "/health"]) {
    statuses.push((await fetch(page.url + path)).status);
  }
  assert.deepEqual(statuses, [404, 404, 200]);
});

test("every tracing header and the user travel through to the last service", async (t) => {
  const seen: IncomingMessage["headers"][] = [];
  const ratingsPort = await listen(t, (request, response) => {
    seen.push(request.headers);
    response.end(RATINGS);
  });
  const reviews = await startService(t, "reviews", {
    SERVICE_VERSION: "v2",
    ...upstream("ratings", ratingsPort),
  });
  const page = await startService(t, "productpage", upstream("reviews", reviews.port));
  const sent = Object.fromEntries(FORWARDED_HEADERS.map((name) => [name, `value-of-${name}`]));
  await fetch(`${page.url}/api/v1/products/0/reviews`, {
    headers: { ...sent, "x-private": "stays here" },
  });
  assert.equal(seen.length, 1);
  for (const [name, value] of Object.entries(sent)) assert.equal(seen[0]?.[name], value, name);
  assert.equal(seen[0]?.["x-private"], undefined);
});

test("whoever signs in is known to the services behind", async (t) => {
  const seen: unknown[] = [];
  const reviewsPort = await listen(t, (request, response) => {
    seen.push(request.headers["end-user"], request.headers["user"]);
    response.end("{}");
  });
  const page = await startService(t, "productpage", upstream("reviews", reviewsPort));
  const login = await fetch(`${page.url}/login`, {
    method: "POST",
    body: new URLSearchParams({ username: "jason" }),
    redirect: "manual",
  });
  const cookie = login.headers.get("set-cookie")?.split(";")[0] ?? "";
  await fetch(`${page.url}/api/v1/products/0/reviews`, { headers: { cookie } });
  assert.deepEqual([login.status, cookie, ...seen], [303, "user=jason", "jason", "jason"]);
  const wrong = await fetch(`${page.url}/login`, { method: "POST", body: "username=a b<" });
  assert.equal(wrong.status, 400);
});

test("reviews go on without stars when ratings are gone", async (t) => {
  const reviews = await startService(t, "reviews", {
    SERVICE_VERSION: "v2",
    ...upstream("ratings", await closedPort(t)),
  });
  const response = await fetch(`${reviews.url}/reviews/0`);
  assert.equal(response.status, 200);
  assert.match(await response.text(), /Ratings service is currently unavailable/);
});

test("the faulty build fails, and the caller sees its status", async (t) => {
  const reviews = await startService(t, "reviews", {
    SERVICE_VERSION: "v3",
    FAULT_ERROR_RATE: "1",
  });
  const page = await startService(t, "productpage", upstream("reviews", reviews.port));
  const response = await fetch(`${page.url}/api/v1/products/0/reviews`);
  assert.equal(response.status, 500);
  assert.equal(((await response.json()) as { version: string }).version, "v3");
  const html = await fetch(`${page.url}/productpage`);
  assert.equal(html.status, 200);
  assert.match(await html.text(), /product reviews are currently unavailable/);
});

test("a service that is gone is 503 to the caller", async (t) => {
  const port = await closedPort(t);
  const page = await startService(t, "productpage", upstream("reviews", port));
  assert.equal((await fetch(`${page.url}/api/v1/products/0/reviews`)).status, 503);
});

test("calls go through HTTP_PROXY in absolute form, over one kept connection", async (t) => {
  const targets: string[] = [];
  const connections = new Set<unknown>();
  const proxyPort = await listen(t, (request, response) => {
    targets.push(`${request.url} for ${request.headers.host}`);
    connections.add(request.socket);
    response.end('{"version":"v1"}');
  });
  const page = await startService(t, "productpage", {
    HTTP_PROXY: `http://127.0.0.1:${proxyPort}`,
    http_proxy: `http://127.0.0.1:${proxyPort}`,
    NO_PROXY: "localhost,127.0.0.1",
    NODE_USE_ENV_PROXY: "1",
  });
  for (let i = 0; i < 3; i += 1) await fetch(`${page.url}/api/v1/products/0/reviews`);
  assert.deepEqual(targets, Array(3).fill("http://reviews:9080/reviews/0 for reviews:9080"));
  assert.equal(connections.size, 1);
});

test("a kept connection that died is replaced without the client noticing", async (t) => {
  let requests = 0;
  const reviewsPort = await listen(t, (request, response) => {
    requests += 1;
    // Every second request hits a connection that the server closes instead of answering.
    if (requests === 2) request.socket.destroy();
    else response.end('{"version":"v1"}');
  });
  const page = await startService(t, "productpage", upstream("reviews", reviewsPort));
  const url = `${page.url}/api/v1/products/0/reviews`;
  const statuses = [(await fetch(url)).status, (await fetch(url)).status];
  assert.deepEqual([statuses, requests], [[200, 200], 3]);
});

test("SIGTERM lets the request in flight finish, closes kept connections and ends with 0", async (t) => {
  let release = (): void => {};
  const arrived = Promise.withResolvers<void>();
  const ratingsPort = await listen(t, (_request, response) => {
    release = () => response.end(RATINGS);
    arrived.resolve();
  });
  const reviews = await startService(t, "reviews", {
    SERVICE_VERSION: "v2",
    ...upstream("ratings", ratingsPort),
  });
  const agent = new Agent({ keepAlive: true });
  const answer = once(get(`${reviews.url}/reviews/0`, { agent }), "response");
  await arrived.promise;
  const exited = once(reviews.child, "exit");
  reviews.child.kill("SIGTERM");
  await refused(reviews.url);
  release();
  const [response] = (await answer) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  assert.deepEqual([response.statusCode, response.headers.connection], [200, "close"]);
  assert.deepEqual(await exited, [0, null]);
  agent.destroy();
});

/** Resolves once new connections are refused. */
async function refused(url: string): Promise<void> {
  const deadlineMs = Date.now() + 20_000;
  while (
    await fetch(`${url}/health`).then(
      () => true,
      () => false,
    )
  ) {
    assert.ok(Date.now() < deadlineMs, "still listening after 20 s");
  }
}

test("a wrong setting ends a service with one sentence", async () => {
  const child = spawnService("reviews", { FAULT_ERROR_RATE: "half" });
  const chunks: Buffer[] = [];
  child.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk));
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 2);
  assert.equal(Buffer.concat(chunks).toString(), 'FAULT_ERROR_RATE must be 0..1 (found "half")\n');
});

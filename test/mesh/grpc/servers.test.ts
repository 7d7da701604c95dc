import assert from "node:assert/strict";
import { test } from "node:test";
import { credentials, ServerCredentials, status } from "@grpc/grpc-js";
import { XdsChannelCredentials, XdsServer, XdsServerCredentials } from "@grpc/grpc-js-xds";
import { RESOURCES } from "../../../src/api/index.ts";
import { until } from "../ads/proxy-client.ts";
import { destinationRule, peerAuthentication } from "../core/support/objects.ts";
import {
  CLIENT_POD,
  EchoClient,
  freePort,
  grpcWorld,
  startEcho,
  stopWorldAtTheEnd,
} from "./world.ts";

stopWorldAtTheEnd();

const POLICY = { namespace: "default", name: "nobody" };

/** Allows nothing. */
const denyAll = {
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata: POLICY,
  spec: {},
};

test("a gRPC server takes its port from the control plane: plain text, then mutual TLS only", async (t) => {
  const world = await grpcWorld();
  const port = await freePort();
  const labels = { app: "own", version: "v1" };
  const pods = [{ name: CLIENT_POD, ip: "127.0.0.1", labels, ports: [{ containerPort: port }] }];
  await world.applyEcho(pods, "own", port);
  const insecure = ServerCredentials.createInsecure();
  const own = new XdsServerCredentials(insecure);
  await startEcho(t, "0.0.0.0", port, "served", new XdsServer(), own);
  const plain = new EchoClient(`127.0.0.1:${port}`);
  t.after(() => plain.close());
  await until("plain text", async () => (await plain.say({}, 1000)).text === "served");

  const tls = { mode: "ISTIO_MUTUAL" };
  const rule = destinationRule({ name: "own" }, { host: "own", trafficPolicy: { tls } });
  await world.apply(RESOURCES.destinationRule, rule);
  const strict = peerAuthentication({ name: "default" }, { mtls: { mode: "STRICT" } });
  await world.apply(RESOURCES.peerAuthentication, strict);
  const secure = new XdsChannelCredentials(credentials.createInsecure());
  const client = world.client("own.default.svc.cluster.local:7070", secure);
  await until("mutual TLS", async () => (await client.say({}, 1000)).text === "served");
  await until("plain text refused", async () => {
    const fresh = new EchoClient(`127.0.0.1:${port}`);
    const { code } = await fresh.say({}, 1000);
    fresh.close();
    return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED;
  });
  // The certificate is that of another workload than the rule asks for.
  const other = { ...tls, subjectAltNames: ["spiffe://cluster.local/ns/default/sa/other"] };
  const wrong = destinationRule({ name: "own" }, { host: "own", trafficPolicy: { tls: other } });
  await world.apply(RESOURCES.destinationRule, wrong);
  await until("the identity refused", async () => {
    const { code } = await client.say({}, 1000);
    return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED;
  });
});

test("what a client refuses is told, and the rest goes on", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  const strict = { namespace: "default", name: "default" };
  await world.store.delete(RESOURCES.peerAuthentication, strict);
  const port = await freePort();
  const labels = { app: "own", version: "v1" };
  const pods = [{ name: CLIENT_POD, ip: "127.0.0.1", labels, ports: [{ containerPort: port }] }];
  await world.applyEcho(pods, "own", port);
  await startEcho(t, world.ip(10), world.port, "v1");
  await world.applyEcho([{}]);
  // This client knows no RBAC filter unless it is told to: fail closed, and say so.
  await world.apply(RESOURCES.authorizationPolicy, denyAll);
  const client = world.client();
  await until("the channel", async () => (await client.say({}, 1000)).text === "v1");
  const serving = startEcho(t, "0.0.0.0", port, "served", new XdsServer());
  const stateOf = async () =>
    (await world.syncz()).find((each) => each["proxy"] === `${CLIENT_POD}.default`);
  await until("the refusal", async () => (await stateOf())?.["listener_status"] === "ERROR");
  const errors = (await stateOf())?.["listener_errors"] as string[];
  assert.match(errors[0] ?? "", /rbac\.0 filter validation failed/);
  assert.match(await world.metrics(), /^pilot_total_xds_rejects\{type="lds"\} [1-9]/m);
  assert.equal((await client.say()).text, "v1");
  const late = world.client("echo.default:7070");
  assert.equal((await late.say()).text, "v1", "other listeners are taken");
  await world.store.delete(RESOURCES.authorizationPolicy, POLICY);
  const plain = new EchoClient(`127.0.0.1:${port}`);
  t.after(() => plain.close());
  await until("served at last", async () => (await plain.say({}, 1000)).text === "served");
  await serving;
  await until("agreed", async () => (await stateOf())?.["listener_status"] === "SYNCED");
});

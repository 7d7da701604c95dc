import assert from "node:assert/strict";
import { test } from "node:test";
import { encode, type MessageName, packAny, unknownFields } from "../../src/xds/index.ts";

const CLUSTER = "envoy.config.cluster.v3.Cluster";
const LISTENER = "envoy.config.listener.v3.Listener";
const MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/** Field `number` as a varint 1, as an encoder that knows the field would append it. */
function varint(number: number): Uint8Array {
  const tag = number * 8;
  return tag < 128 ? Uint8Array.of(tag, 1) : Uint8Array.of((tag & 0x7f) | 0x80, tag >> 7, 1);
}

const join = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);
const paths = (name: MessageName, bytes: Uint8Array): readonly string[] =>
  unknownFields(name, bytes).map(({ path }) => path.join("."));

test("what is known is not reported", () => {
  const bytes = encode(CLUSTER, { name: "a", connect_timeout: { seconds: 1 } });
  assert.deepEqual(paths(CLUSTER, bytes), []);
});

test("fields that the manifest leaves out are named, once each", () => {
  const bytes = join(encode(CLUSTER, { name: "a" }), varint(47), varint(31), varint(47));
  assert.deepEqual(paths(CLUSTER, bytes), [
    "track_timeout_budgets",
    "close_connections_on_host_health_failure",
  ]);
});

test("fields newer than the protos go by their number", () => {
  assert.deepEqual(paths(CLUSTER, join(encode(CLUSTER, { name: "a" }), varint(1999))), ["#1999"]);
});

test("what lies within messages, lists and Any is found, with its place", () => {
  const manager = {
    type_url: `type.googleapis.com/${MANAGER}`,
    value: join(encode(MANAGER, { stat_prefix: "x" }), varint(51)),
  };
  const listener = {
    name: "l",
    filter_chains: [{ name: "first" }, { filters: [{ name: "http", typed_config: manager }] }],
  };
  assert.deepEqual(paths(LISTENER, encode(LISTENER, listener)), [
    "filter_chains.1.filters.0.typed_config.append_x_forwarded_port",
  ]);
});

test("an Any of an unknown type, or one that does not decode, is left to who reads it", () => {
  const filter = (typed_config: { type_url: string; value: Uint8Array }) =>
    encode(LISTENER, { name: "l", filter_chains: [{ filters: [{ typed_config }] }] });
  const foreign = { type_url: "type.googleapis.com/some.Type", value: Uint8Array.of(1, 2, 3) };
  assert.deepEqual(paths(LISTENER, filter(foreign)), []);
  const broken = { ...packAny(MANAGER, {}), type_url: `type.googleapis.com/${MANAGER}` };
  assert.deepEqual(
    paths(LISTENER, filter({ ...broken, value: Uint8Array.of(0xff, 0xff, 0xff) })),
    [],
  );
});

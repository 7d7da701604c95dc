import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, encode } from "../../src/xds/index.ts";

test("64-bit fields are numbers, set or not", () => {
  const bytes = encode("io.prometheus.client.Bucket", { upper_bound: 0.5 });
  assert.equal(decode("io.prometheus.client.Bucket", bytes).cumulative_count, 0);
  const set = encode("io.prometheus.client.Bucket", { cumulative_count: 2 ** 40 });
  assert.equal(decode("io.prometheus.client.Bucket", set).cumulative_count, 2 ** 40);
});

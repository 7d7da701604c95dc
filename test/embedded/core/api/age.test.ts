import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatAge, timestampMs } from "../../../../src/embedded/core/api/age.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// k8s.io/apimachinery/pkg/util/duration duration_test.go
const AGES: readonly (readonly [number, string])[] = [
  [-2 * SECOND, "<invalid>"],
  [-SECOND, "0s"],
  [0, "0s"],
  [SECOND - 1, "0s"],
  [70 * SECOND, "70s"],
  [119 * SECOND, "119s"],
  [2 * MINUTE, "2m"],
  [2 * MINUTE + 13 * SECOND, "2m13s"],
  [10 * MINUTE + 10 * SECOND, "10m"],
  [179 * MINUTE, "179m"],
  [3 * HOUR, "3h"],
  [3 * HOUR + 5 * MINUTE, "3h5m"],
  [8 * HOUR + 5 * MINUTE, "8h"],
  [47 * HOUR, "47h"],
  [2 * DAY, "2d"],
  [3 * DAY + 2 * HOUR, "3d2h"],
  [8 * DAY + 2 * HOUR, "8d"],
  [365 * 2 * DAY - MINUTE, "729d"],
  [365 * 2 * DAY, "2y"],
  [365 * 2 * DAY + 3 * DAY, "2y3d"],
  [365 * 9 * DAY + 3 * DAY, "9y"],
];
for (const [durationMs, expected] of AGES) {
  test(`${durationMs} ms is ${expected}`, () => assert.equal(formatAge(durationMs), expected));
}

test("timestamps are read as Date reads them", () => {
  fc.assert(
    fc.property(
      fc.date({
        min: new Date("1970-01-01T00:00:00Z"),
        max: new Date("2200-01-01T00:00:00Z"),
        noInvalidDate: true,
      }),
      (date) => {
        assert.equal(timestampMs(date.toISOString()), date.getTime());
      },
    ),
  );
  assert.equal(timestampMs("2024-02-29T12:00:00+02:00"), Date.parse("2024-02-29T10:00:00Z"));
  assert.equal(timestampMs("yesterday"), undefined);
});

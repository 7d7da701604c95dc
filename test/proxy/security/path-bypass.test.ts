import assert from "node:assert/strict";
import { before, test } from "node:test";
import {
  assertExpected,
  type Outcomes,
  runConfigTable,
} from "../../conformance/support/config-table.ts";
import { PATH_TABLE } from "../../conformance/support/table-paths.ts";

/** A proxy that denies `/admin` and the host `secret.test`, and all the ways around it that we know. */
let outcomes: Outcomes = new Map();
before(async () => {
  ({ ours: outcomes } = await runConfigTable(PATH_TABLE, false));
});

for (const listener of Object.keys(PATH_TABLE.listeners)) {
  test(`${listener}: every target and host meets its fate`, () => {
    for (const row of PATH_TABLE.rows.filter((row) => row.listener === listener)) {
      const outcome = outcomes.get(row.name);
      assert.ok(outcome !== undefined, row.name);
      assertExpected(row, outcome);
      assert.equal(outcome.asked === undefined, row.status !== 200, row.name);
    }
  });
}

/** What the laxest server makes of a path: decoded, backslashes turned, parameters dropped. */
function asLaxServersRead(line: string): string {
  let path = (line.split(" ")[1] ?? "").split("?")[0] ?? "";
  path = path.replaceAll(/%2f|%5c|\\/gi, "/").replaceAll(/%2e/gi, ".");
  path = path.replaceAll(/%6d/gi, "m").replaceAll("%61", "a");
  const out: string[] = [];
  for (const segment of path.split("/")) {
    const [name = ""] = segment.split(";");
    if (name === "..") out.pop();
    else if (name !== "." && segment !== "") out.push(name);
  }
  return `/${out.join("/")}`;
}

test("under decode and merge no upstream is asked for what it could take for /admin", () => {
  let seen = 0;
  for (const row of PATH_TABLE.rows.filter(({ listener }) => listener === "decoded")) {
    const asked = outcomes.get(row.name)?.asked;
    if (asked === undefined) continue;
    seen += 1;
    assert.doesNotMatch(asLaxServersRead(asked.line), /^\/admin(\/|$)/, row.name);
  }
  assert.ok(seen > 20, `only ${seen} requests were forwarded`);
});

test("and without it some are: the test can tell", () => {
  const isBypass = ({ name }: { readonly name: string }) =>
    asLaxServersRead(outcomes.get(name)?.asked?.line ?? "").startsWith("/admin");
  assert.ok(PATH_TABLE.rows.filter(({ listener }) => listener === "normal").some(isBypass));
});

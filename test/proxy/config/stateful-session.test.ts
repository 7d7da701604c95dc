import assert from "node:assert/strict";
import { test } from "node:test";
import { createScope } from "../../../src/proxy/core/compile/scope.ts";
import { compileStatefulSession } from "../../../src/proxy/core/compile/stateful-session.ts";
import {
  hasSession,
  sessionAddress,
  sessionHeader,
} from "../../../src/proxy/core/session-state.ts";
import { packAny } from "../../../src/xds/index.ts";

const COOKIE = "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState";
const HEADER = "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState";

const REFUSED: readonly (readonly [string, Parameters<typeof packAny>[1] | undefined, RegExp])[] = [
  [COOKIE, { cookie: {} }, /session_state\.typed_config\.cookie\.name: must not be empty/],
  [HEADER, {}, /session_state\.typed_config\.name: must not be empty/],
  ["mine", undefined, /session_state\.typed_config: session state .*mine is not supported/],
];

for (const [type, message, expected] of REFUSED) {
  test(`refuses ${type} ${JSON.stringify(message)}`, () => {
    const issues: Parameters<typeof createScope>[0]["issues"] = [];
    const typed_config =
      type === COOKIE || type === HEADER
        ? packAny(type, message ?? {})
        : { type_url: `type.googleapis.com/${type}`, value: new Uint8Array() };
    compileStatefulSession(
      { session_state: { name: "state", typed_config } },
      createScope({ issues, warnings: [] }),
    );
    assert.match(issues.map((issue) => `${issue.path}: ${issue.message}`).join("\n"), expected);
  });
}

const state = { kind: "cookie", name: "sid", ttlSeconds: 60, path: "", attributes: [] } as const;

test("a client comes back with what it was given, until its time is over", () => {
  const [name, value] = sessionHeader(state, "10.0.0.1:8080", 1_000_000);
  assert.equal(name, "set-cookie");
  const cookie = value.split(";")[0];
  const at = (seconds: number) => sessionAddress(state, () => cookie, seconds);
  assert.equal(at(1_000_060), "10.0.0.1:8080");
  assert.equal(at(1_000_061), undefined);
});

test("whatever a client sends is an address at most, never an error", () => {
  for (let i = 0; i < 256; i += 1) {
    for (const rest of [[], [0xff], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]) {
      const text = Buffer.from([i, ...rest]).toString("base64");
      const address = sessionAddress(state, () => `sid=${text}`, 0);
      assert.ok(address === undefined || address.length <= 12, text);
    }
  }
});

for (const [path, target, has] of [
  ["/a", "/a", true],
  ["/a", "/a/b", true],
  ["/a", "/a?x", true],
  ["/a", "/ab", false],
  ["/a/", "/a", false],
  ["/a/", "/a/b", true],
  ["", "/any", true],
  ["/", "/any", true],
] as const) {
  test(`a cookie for ${path || "everything"} is ${has ? "" : "not "}for ${target}`, () => {
    assert.equal(hasSession({ ...state, path }, target), has);
  });
}

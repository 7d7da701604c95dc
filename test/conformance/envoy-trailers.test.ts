import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { startHttp } from "../support/proxy-fixture.ts";
import { skipWithout } from "../support/tools.ts";
import { address, httpBootstrap, sideBySide } from "./support/side-by-side.ts";

const OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const cluster = (name: string, port: number, enable_trailers: boolean) => ({
  name,
  type: "STATIC",
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
  },
  typed_extension_protocol_options: {
    [OPTIONS]: {
      "@type": `type.googleapis.com/${OPTIONS}`,
      explicit_http_config: { http_protocol_options: { enable_trailers } },
    },
  },
});

/** All bytes that come back, the chunks' frames without those of the body. */
async function ask(port: number, path: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close\r\n\r\n5\r\nabcde\r\n0\r\nX-In: t\r\n\r\n`,
  );
  let text = "";
  socket.on("data", (bytes: Buffer) => {
    text += bytes.toString("latin1");
  });
  await once(socket, "close");
  return text.toLowerCase();
}

for (const ofListener of [false, true]) {
  test(`HTTP/1.1 trailers as Envoy, ${ofListener ? "" : "not "}enabled for clients`, {
    skip: skipWithout("envoy"),
  }, async (t) => {
    const seen: string[] = [];
    const upstream = await startHttp(t, (request, response) => {
      response.setHeader("trailer", "x-sum");
      request.resume();
      request.on("end", () => {
        seen.push(`${request.url} ${request.trailers["x-in"] ?? "-"}`);
        response.write("body");
        response.addTrailers({ "x-sum": "5" });
        response.end();
      });
    });
    const { envoy, ours } = await sideBySide(
      (places) =>
        httpBootstrap(
          places,
          [cluster("on", upstream, true), cluster("off", upstream, false)],
          ["on", "off"].map((name) => ({
            match: { prefix: `/${name}` },
            route: { cluster: name },
          })),
          { http_protocol_options: { enable_trailers: ofListener } },
        ),
      async ({ listener }) => {
        seen.length = 0;
        const passed: boolean[] = [];
        for (const path of ["/on", "/off"]) {
          const answer = await ask(listener, path);
          assert.match(answer, /^http\/1.1 200 /);
          passed.push(answer.endsWith("\r\n0\r\nx-sum: 5\r\n\r\n"));
        }
        return { seen: [...seen], passed };
      },
    );
    assert.deepEqual(ours, envoy);
    assert.deepEqual(envoy.passed, [ofListener, false]);
    assert.deepEqual(envoy.seen, [`/on ${ofListener ? "t" : "-"}`, "/off -"]);
  });
}

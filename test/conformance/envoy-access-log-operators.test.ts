import assert from "node:assert/strict";
import { test } from "node:test";
import { createAuthority } from "../support/certificates.ts";
import { skipWithout } from "../support/tools.ts";
import { runLogTable } from "./support/log-table.ts";
import { isShaped, OPERATOR_TABLE } from "./support/table-log-operators.ts";

const skip = skipWithout("envoy");

test("command operators of access logs as Envoy's", { skip }, async (t) => {
  const { envoy, ours } = await runLogTable(OPERATOR_TABLE);
  const shape = (line: string) =>
    line.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UUID").replaceAll(/\d+/g, "0");
  for (const { name: log } of OPERATOR_TABLE.logs) {
    await t.test(log, () => {
      for (const { name: request } of OPERATOR_TABLE.requests) {
        const key = `${log} / ${request}`;
        const lines = (logged: typeof envoy) =>
          isShaped(log) ? logged.get(key)?.map(shape) : logged.get(key);
        assert.equal(lines(envoy)?.length, 1);
        assert.deepEqual(lines(ours), lines(envoy), request);
      }
    });
  }
});

test("command operators over mutual TLS as Envoy's", { skip }, async (t) => {
  const authority = await createAuthority();
  const own = await authority.issue("spiffe://cluster.local/ns/a/sa/own", {
    subject: "/O=Own, Inc/CN=own",
    names: "DNS:own.test,IP:127.0.0.9",
  });
  const client = await authority.issue("spiffe://cluster.local/ns/a/sa/client", {
    subject: "/C=DE/O=Acme/OU=Sales/CN=client",
    names: "DNS:c.test,DNS:d.test,IP:127.0.0.8,IP:::1,email:c@d.test,URI:spiffe://b/c",
  });
  const table = {
    ...OPERATOR_TABLE,
    requests: OPERATOR_TABLE.requests.slice(0, 2),
    tls: {
      ca: authority.certificatePem,
      cert: own.certificatePem,
      key: own.keyPem,
      clientCert: client.certificatePem,
      clientKey: client.keyPem,
    },
  };
  const { envoy, ours } = await runLogTable(table);
  const tls = table.logs.filter(({ name }) => /TLS|PEER|LOCAL_|SERVER_NAME/.test(name));
  assert.ok(tls.length > 20);
  for (const { name: log } of tls) {
    await t.test(log, () => {
      for (const { name: request } of table.requests) {
        const key = `${log} / ${request}`;
        assert.equal(envoy.get(key)?.length, 1);
        assert.deepEqual(ours.get(key), envoy.get(key), request);
      }
    });
  }
  assert.match(envoy.get("DOWNSTREAM_PEER_CERT / plain")?.[0] ?? "", /BEGIN%20CERTIFICATE/);
});

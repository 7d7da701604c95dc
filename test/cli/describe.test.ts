import assert from "node:assert/strict";
import { test } from "node:test";
import { outsideAddresses } from "../../src/cli/outside-addresses.ts";
import { runCommand } from "./run-command.ts";

const NODE = {
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "n" },
  status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] },
};

const ROWS: readonly (readonly [what: string, service: object, expected: readonly unknown[]])[] = [
  [
    "a load balancer's address",
    {
      spec: { type: "LoadBalancer" },
      status: { loadBalancer: { ingress: [{ ip: "192.0.2.7" }] } },
    },
    [["192.0.2.7", []]],
  ],
  [
    "a load balancer's name",
    {
      spec: { type: "LoadBalancer" },
      status: { loadBalancer: { ingress: [{ hostname: "lb.example.com" }] } },
    },
    [["lb.example.com", []]],
  ],
  ["an external address", { spec: { externalIPs: ["192.0.2.8"] } }, [["192.0.2.8", []]]],
  [
    "a node's port while there is no load balancer",
    { spec: { type: "LoadBalancer", ports: [{ port: 80, nodePort: 30001 }] }, status: {} },
    [["192.0.2.1", [[80, 30001]]]],
  ],
  [
    "nothing for a service of the cluster alone",
    { spec: { type: "ClusterIP", ports: [{ port: 80 }] } },
    [],
  ],
];

for (const [what, service, expected] of ROWS) {
  test(`from outside a Service is reached at ${what}`, () => {
    const object = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "s", namespace: "d" },
      ...service,
    };
    const found = outsideAddresses([object], [NODE])("d/s");
    assert.deepEqual(
      found.map(({ host, ports }) => [host, [...ports]]),
      expected,
    );
  });
}

for (const [args, message] of [
  [["describe"], /what to describe is missing/],
  [["describe", "node", "n"], /unknown "node"/],
  [["describe", "pod"], /the name of the pod is missing/],
  [["describe", "svc"], /the name of the service is missing/],
  [["describe", "pod", "p", "-o", "xml"], /--output must be/],
] as const) {
  test(`wrong usage exits 2: serin ${args.join(" ")}`, async () => {
    const { code, stderr } = await runCommand(args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  });
}

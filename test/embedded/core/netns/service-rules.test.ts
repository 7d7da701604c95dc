import assert from "node:assert/strict";
import { test } from "node:test";
import {
  probeRules,
  serviceRules,
  virtualPorts,
} from "../../../../src/embedded/core/netns/service-rules.ts";
import { endpointSlice, service } from "./services.ts";

const SERVICES = [
  service("reviews", { clusterIP: "10.96.0.3", ports: [{ name: "http", port: 80 }] }),
  service("empty", {
    clusterIP: "10.96.0.2",
    ports: [{ port: 81 }, { port: 53, protocol: "UDP" }],
  }),
  service("headless", { clusterIP: "None", ports: [{ port: 82 }] }),
  service("outside", { type: "ExternalName", externalName: "example.com" }),
];
const SLICES = [
  endpointSlice(
    "reviews",
    [["http", 9080]],
    [{ ip: "10.240.0.9" }, { ip: "10.240.0.2" }, { ip: "10.240.0.4", isReady: false }],
  ),
  endpointSlice("headless", [["", 82]], [{ ip: "10.240.0.5" }]),
];

test("each TCP port of a cluster IP leads to its ready endpoints", () => {
  assert.deepEqual(virtualPorts(SERVICES, SLICES), [
    { address: "10.96.0.2", port: 81, backends: [] },
    {
      address: "10.96.0.3",
      port: 80,
      backends: [
        { address: "10.240.0.2", port: 9080 },
        { address: "10.240.0.9", port: 9080 },
      ],
    },
  ]);
  assert.deepEqual(virtualPorts([...SERVICES].reverse(), SLICES), virtualPorts(SERVICES, SLICES));
});

test("a connection goes to one of them by chance, and is refused where there is none", () => {
  const rules = serviceRules(virtualPorts(SERVICES, SLICES), true).split("\n");
  const to = "-A SERIN-SERVICES -d 10.96.0.3/32 -p tcp -m tcp --dport 80";
  assert.deepEqual(rules, [
    "*nat",
    ":SERIN-SERVICES - [0:0]",
    `${to} -m statistic --mode random --probability 0.50000000 -j DNAT --to-destination 10.240.0.2:9080`,
    `${to} -j DNAT --to-destination 10.240.0.9:9080`,
    "-A OUTPUT -j SERIN-SERVICES",
    "COMMIT",
    "*filter",
    ":SERIN-SERVICES - [0:0]",
    "-A SERIN-SERVICES -d 10.96.0.2/32 -p tcp -m tcp --dport 81 -j REJECT --reject-with tcp-reset",
    "-A OUTPUT -j SERIN-SERVICES",
    "COMMIT",
    "",
  ]);
});

test("a later version takes the hook away and puts it back behind all others", () => {
  const rules = serviceRules([], false).split("\n");
  assert.deepEqual(
    rules.filter((rule) => rule.includes("OUTPUT")),
    [
      "-D OUTPUT -j SERIN-SERVICES",
      "-A OUTPUT -j SERIN-SERVICES",
      "-D OUTPUT -j SERIN-SERVICES",
      "-A OUTPUT -j SERIN-SERVICES",
    ],
  );
});

test("probes come before whatever captures connections", () => {
  assert.match(probeRules("169.254.7.127"), /^-I PREROUTING -s 169\.254\.7\.127\/32 /m);
});

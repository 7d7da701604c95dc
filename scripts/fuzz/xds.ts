import { messageOf } from "../../src/base/index.ts";
import { UNKNOWN_PEER } from "../../src/proxy/core/peer-metadata.ts";
import { selectRoute } from "../../src/proxy/core/route.ts";
import { ConfigStore } from "../../src/proxy/xds/config-store.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import {
  type Any,
  CLUSTER_TYPE,
  encode,
  fromJson,
  LISTENER_TYPE,
  type MessageName,
  type ResourceTypeUrl,
  ROUTE_TYPE,
  typeUrl,
} from "../../src/xds/index.ts";
import { tableBootstrap } from "../../test/conformance/support/table-bootstrap.ts";
import { mutate } from "./mutate.ts";
import type { Random } from "./random.ts";
import { FuzzFailure, type FuzzTarget, promise } from "./target.ts";

type Json = unknown;
interface Seed {
  readonly type: ResourceTypeUrl;
  readonly message: MessageName;
  readonly json: Json;
  readonly bytes: Buffer;
}

const SEEDS: readonly Seed[] = seeds();
const ALL_BYTES = SEEDS.map(({ bytes }) => bytes);

/** The resources of the differential suite: every feature of routes stands in them. */
function seeds(): readonly Seed[] {
  const ports = { listener: 1, admin: 2, a: 3, b: 4, dead: 5, log: "/dev/null" };
  const { static_resources: resources } = JSON.parse(tableBootstrap(ports, false));
  const [listener] = resources.listeners;
  const manager = listener.filter_chains[0].filters[0].typed_config;
  const routes: Json = manager.route_config;
  return [
    ...resources.clusters.map((json: Json) =>
      seed(CLUSTER_TYPE, "envoy.config.cluster.v3.Cluster", json),
    ),
    seed(LISTENER_TYPE, "envoy.config.listener.v3.Listener", listener),
    seed(ROUTE_TYPE, "envoy.config.route.v3.RouteConfiguration", routes),
  ];
}

function seed(type: ResourceTypeUrl, message: MessageName, json: Json): Seed {
  const parsed = fromJson(message, json);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return { type, message, json, bytes: Buffer.from(encode(message, parsed.value)) };
}

const SCALARS: readonly Json[] = [
  ...[null, "", "x", "0s", "-1s", "99999999999s", "1.5s", 0, -1, 1, 1e9, 4_294_967_295, 0.5],
  ...[true, false, [], {}, "*", "%", "(", "[", "\\1", "a".repeat(300), "::1", "127.0.0.1", "é"],
  ...["Infinity", "NaN", "__proto__", "constructor", "%REQ(A)%", "/", "type.googleapis.com/x"],
];

/** A copy of a JSON value with one place changed. */
function mutateJson(value: Json, random: Random): Json {
  const isBranch = typeof value === "object" && value !== null;
  if (!isBranch || random.chance(0.06)) return random.pick(SCALARS);
  if (Array.isArray(value)) {
    const copy: Json[] = [...value];
    const index = random.below(copy.length);
    switch (random.below(5)) {
      case 0:
        copy.splice(index, 1);
        break;
      case 1:
        copy.splice(index, 0, ...copy.slice(index, index + 1));
        break;
      default:
        if (copy.length > 0) copy[index] = mutateJson(copy[index], random);
    }
    return copy;
  }
  const copy: Record<string, Json> = { ...value };
  const keys = Object.keys(copy);
  if (keys.length === 0) return random.pick(SCALARS);
  const key = random.pick(keys);
  if (random.chance(0.1)) delete copy[key];
  else copy[key] = mutateJson(copy[key], random);
  return copy;
}

/** Messages that no author of a config could act upon: something fell over on the way. */
const ACCIDENT =
  /Cannot (read|set|convert|destructure)|is not (a function|iterable|defined|an object)|Maximum call stack|\[object |undefined/;

function apply(seedOf: Seed, bytes: Uint8Array, input: string): void {
  const store = new ConfigStore({
    self: UNKNOWN_PEER,
    context: {
      readFile(path) {
        throw new Error(`no such file: ${path}`);
      },
      environment: () => undefined,
      timeOriginMs: 0,
    },
    clock: { ...systemClock, schedule: () => () => {} },
    logger: createLogger("fuzz", "silent"),
    onConfig: () => {},
    onWanted: () => {},
  });
  const any: Any = { type_url: typeUrl(seedOf.message), value: bytes };
  const resource = { name: nameOf(seedOf), version: "1", any };
  const rejected = store.apply({ typeUrl: seedOf.type, upserts: [resource], removals: [] });
  for (const { message } of rejected) {
    promise(message !== "" && !ACCIDENT.test(message), `refused by accident: ${message}`, input);
  }
  if (rejected.length > 0) return;
  const config = store.current();
  for (const listener of config.listeners.values()) {
    for (const { network } of listener.chains) {
      if (network.kind !== "http") continue;
      const host = network.routeTable()?.virtualHost("table.test");
      if (host !== undefined)
        selectRoute(host.routes, "/rx/a?n=1", { get: () => "jason", sample: 0 });
    }
  }
}

function nameOf({ json }: Seed): string {
  const name = typeof json === "object" && json !== null && "name" in json ? json.name : "";
  return String(name);
}

function checked(input: string, run: () => void): void {
  try {
    run();
  } catch (error) {
    if (error instanceof FuzzFailure) throw error;
    throw new FuzzFailure(`xds threw ${messageOf(error)}`, input, error);
  }
}

const asJson: FuzzTarget = {
  name: "xds fields",
  run(random) {
    const chosen = random.pick(SEEDS);
    let json = mutateJson(chosen.json, random);
    while (random.chance(0.3)) json = mutateJson(json, random);
    const input = JSON.stringify(json);
    checked(input, () => {
      const parsed = fromJson(chosen.message, json);
      if (!parsed.ok) {
        promise(parsed.issues.length > 0, "refused without a reason", input);
        return;
      }
      apply(chosen, encode(chosen.message, parsed.value), input);
    });
  },
};

const asBytes: FuzzTarget = {
  name: "xds bytes",
  run(random) {
    const chosen = random.pick(SEEDS);
    const bytes = mutate(chosen.bytes, ALL_BYTES, random);
    const input = bytes.toString("latin1");
    checked(input, () => apply(chosen, bytes, input));
  },
};

/** Resources whose fields, or whose bytes, are not what they were. */
export const XDS_TARGETS: readonly FuzzTarget[] = [asJson, asBytes];

import { structToJson } from "../../xds/index.ts";
import type { Operator, OperatorValue } from "./format-operators.ts";
import { type MetadataValue, metadataAt } from "./metadata.ts";
import type { AccessLogRecord, ResourceMetadata } from "./runtime-config.ts";

type Source = (record: AccessLogRecord, namespace: string) => MetadataValue | undefined;

/** METADATA's kinds; listeners and filter chains have none here. */
const SOURCES: Readonly<Record<string, Source>> = {
  ROUTE: (r, namespace) => r.routeMetadata?.get(namespace),
  VIRTUAL_HOST: (r, namespace) => r.virtualHostMetadata?.get(namespace),
  CLUSTER: (r, namespace) => structOf(r.upstreamCluster?.metadata, namespace),
  UPSTREAM_HOST: (r, namespace) => structOf(r.upstreamHost?.metadata, namespace),
};

/** Compiles METADATA, whose first part says of what (`ROUTE:istio:key`). */
export function compileMetadataOperator(
  argument: string,
  fail: (message: string) => void,
): Operator {
  const [kind = "", ...rest] = argument.split(":");
  if (kind === "DYNAMIC") return dynamicMetadata(rest.join(":"));
  const source = Object.hasOwn(SOURCES, kind) ? SOURCES[kind] : undefined;
  if (source === undefined) {
    fail(`METADATA: ${kind} is none of DYNAMIC, ${Object.keys(SOURCES).join(", ")}`);
    return () => undefined;
  }
  return resourceMetadata(source, rest.join(":"));
}

/** CLUSTER_METADATA and UPSTREAM_METADATA are METADATA of one kind. */
export function compileMetadataOf(
  kind: "CLUSTER" | "UPSTREAM_HOST",
  argument: string,
  fail: (message: string) => void,
): Operator {
  return compileMetadataOperator(`${kind}:${argument}`, fail);
}

/** Compiles DYNAMIC_METADATA: `filter:key:key`. */
export function dynamicMetadata(argument: string): Operator {
  const [filter = "", ...path] = argument.split(":");
  return ({ metadata }) => operatorValue(metadataAt(metadata, filter, path));
}

function resourceMetadata(source: Source, argument: string): Operator {
  const [namespace = "", ...path] = argument.split(":");
  return (record) => {
    const value = source(record, namespace);
    if (value === undefined) return undefined;
    return operatorValue(metadataAt(new Map([[namespace, value]]), namespace, path));
  };
}

function structOf(
  metadata: ResourceMetadata | undefined,
  namespace: string,
): MetadataValue | undefined {
  const struct = metadata?.filter_metadata?.[namespace];
  // JSON is what metadata values are.
  return struct ? (structToJson(struct) as MetadataValue) : undefined;
}

function operatorValue(value: MetadataValue | undefined): OperatorValue {
  return value === null ? undefined : sorted(value);
}

/** Envoy writes the keys of a struct in order. */
function sorted(value: MetadataValue | undefined): OperatorValue {
  if (typeof value !== "object" || value === null) return value ?? undefined;
  if (isList(value)) return value.map((item) => inOrder(item));
  return inOrder(value) ?? undefined;
}

function inOrder(value: MetadataValue): MetadataValue {
  if (typeof value !== "object" || value === null) return value;
  if (isList(value)) return value.map(inOrder);
  const keys = Object.keys(value).sort();
  return Object.fromEntries(keys.map((key) => [key, inOrder(value[key] ?? null)]));
}

function isList(value: MetadataValue): value is readonly MetadataValue[] {
  return Array.isArray(value);
}

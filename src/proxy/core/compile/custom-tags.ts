import type {
  envoy_type_tracing_v3_CustomTag as CustomTagMessage,
  envoy_type_metadata_v3_MetadataKey as MetadataKey,
} from "../../../xds/index.ts";
import { type MetadataValue, metadataAt } from "../metadata.ts";
import type { CustomTag, TagSource } from "../tracing/config.ts";
import { compileText } from "../tracing/text-format.ts";
import type { CompileContext } from "./data-source.ts";
import type { Scope } from "./scope.ts";

type Value = CustomTag["value"];

/** Compiles the tags that a configuration adds to spans. Problems go to `scope`. */
export function compileCustomTags(
  tags: readonly CustomTagMessage[] | null | undefined,
  context: CompileContext,
  scope: Scope,
): readonly CustomTag[] {
  return (tags ?? []).map((message, i) => {
    const place = scope.at(i);
    if (!message.tag) place.at("tag").fail("must not be empty");
    if ((message.value_type ?? 0) > 1) place.at("value_type").fail("must be STRING");
    return { tag: message.tag ?? "", value: compileValue(message, context, place) };
  });
}

function compileValue(message: CustomTagMessage, context: CompileContext, scope: Scope): Value {
  const { literal, environment, request_header: header, metadata } = message;
  if (literal) {
    if (!literal.value) scope.at("literal", "value").fail("must not be empty");
    const value = literal.value ?? "";
    return () => value;
  }
  if (environment) {
    if (!environment.name) scope.at("environment", "name").fail("must not be empty");
    const value = context.environment(environment.name ?? "") || environment.default_value || "";
    return () => value;
  }
  if (header) {
    if (!header.name) scope.at("request_header", "name").fail("must not be empty");
    const name = (header.name ?? "").toLowerCase();
    const fallback = header.default_value || undefined;
    return (source) => source.requestHeader(name) ?? fallback;
  }
  if (metadata) return compileMetadata(metadata, scope.at("metadata"));
  if (message.value) {
    return compileText(message.value, context, (problem) => scope.at("value").fail(problem));
  }
  scope.fail("must set one of literal, environment, request_header, metadata, value");
  return () => undefined;
}

function compileMetadata(metadata: NonNullable<CustomTagMessage["metadata"]>, scope: Scope): Value {
  const { kind, metadata_key: key } = metadata;
  const fallback = metadata.default_value || undefined;
  const read = compilePath(key ?? {}, scope.at("metadata_key"));
  if (kind?.request) return (source) => tagText(read(source.metadata)) ?? fallback;
  if (kind?.route) return (source) => tagText(read(source.routeMetadata)) ?? fallback;
  if (kind?.cluster) scope.at("kind", "cluster").fail("is not supported");
  else if (kind?.host) scope.at("kind", "host").fail("is not supported");
  else scope.at("kind").fail("must set one of request, route");
  return () => fallback;
}

function compilePath(
  { key, path }: MetadataKey,
  scope: Scope,
): (metadata: TagSource["metadata"]) => MetadataValue | undefined {
  if (!key) scope.at("key").fail("must not be empty");
  const segments = (path ?? []).map((segment) => segment.key ?? "");
  if (segments.length === 0) scope.at("path").fail("must not be empty");
  return (metadata) => metadataAt(metadata, key ?? "", segments);
}

function tagText(value: MetadataValue | undefined): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === "string" ? value : JSON.stringify(value);
}

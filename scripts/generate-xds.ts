/**
 * Generates src/xds/generated/ from src/xds/manifest.txt: prunes the protos shipped in
 * @grpc/grpc-js-xds (Apache-2.0) and src/xds/protos to the messages and fields Serin uses, then
 * writes a static protobufjs codec (messages.cjs), its types (messages.d.cts) and the pruned
 * descriptors (descriptors.json, for the protobuf JSON mapping) and the names of what is left out.
 *
 * `--if-stale` skips the work when the output is newer than every input (used by `npm ci`).
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const outDir = join(root, "src/xds/generated");
const manifestPath = join(root, "src/xds/manifest.txt");
const ownProtos = join(root, "src/xds/protos");
const require = createRequire(import.meta.url);

interface FieldJson {
  type: string;
  id: number;
  rule?: string;
  keyType?: string;
}
interface MessageJson {
  fields: Record<string, FieldJson>;
  oneofs?: Record<string, { oneof: string[] }>;
}

if (!existsSync(join(root, "node_modules/protobufjs-cli"))) {
  // A production install has no devDependencies, and gets the generated files in the tarball.
  process.exit(0);
}

const stamp = createHash("sha256")
  .update(readFileSync(manifestPath))
  .update(readFileSync(fileURLToPath(import.meta.url)))
  .update(
    ownProtoFiles()
      .map((path) => readFileSync(path, "utf8"))
      .join("\n"),
  )
  .update(readFileSync(require.resolve("@grpc/grpc-js-xds/package.json")))
  .digest("hex");
const stampPath = join(outDir, ".stamp");
if (
  process.argv.includes("--if-stale") &&
  existsSync(stampPath) &&
  readFileSync(stampPath, "utf8") === stamp
) {
  process.exit(0);
}

const protobuf = require("protobufjs");
// Ours first: they replace those that are older than what Serin speaks.
const includes = [
  ownProtos,
  ...["envoy-api", "xds", "googleapis", "protoc-gen-validate"].map((d) =>
    join(dirname(require.resolve("@grpc/grpc-js-xds/package.json")), "deps", d),
  ),
];
for (const name of ["descriptor", "api", "source_context", "type"]) {
  protobuf.common(
    name,
    require(`protobufjs/google/protobuf/${name}.json`).nested.google.nested.protobuf.nested,
  );
}

const lines = readFileSync(manifestPath, "utf8")
  .split("\n")
  .map((line) => line.trim())
  .filter((line) => line !== "" && !line.startsWith("#"));
const files = lines.filter((l) => l.startsWith("@file ")).map((l) => l.slice("@file ".length));
const wanted = new Map(
  lines
    .filter((l) => !l.startsWith("@"))
    .map((l) => {
      const [name = "", ...fields] = l.split(/\s+/);
      return [name, fields] as const;
    }),
);

const protoRoot = new protobuf.Root();
protoRoot.resolvePath = (_origin: string, target: string): string => {
  if (isAbsolute(target)) return target;
  for (const dir of includes) {
    const path = join(dir, target);
    if (existsSync(path)) return path;
  }
  return target;
};
protoRoot.loadSync(files, { keepCase: true });
protoRoot.loadSync(["io/prometheus/client/metrics.proto"], { keepCase: true });
for (const line of lines.filter((l) => l.startsWith("@add "))) {
  const [, message, field, id, type] = line.split(/\s+/);
  protoRoot.lookupType(message).add(new protobuf.Field(field, Number(id), type));
}
protoRoot.resolveAll();

const messages = new Map<string, MessageJson>();
const enums = new Map<string, Record<string, number>>();
const dropped: string[] = [];
/** Message → field number → name of what the manifest leaves out. */
const leftOut: Record<string, Record<string, string>> = {};
for (const [name, fields] of wanted) {
  const type = protoRoot.lookupType(name);
  const json: MessageJson = { fields: {} };
  for (const field of fields) {
    if (field !== "*" && !type.fields[field])
      throw new Error(`manifest: ${name} has no field ${field}`);
  }
  for (const field of type.fieldsArray) {
    if (fields[0] !== "*" && !fields.includes(field.name)) {
      leftOut[name] ??= {};
      leftOut[name][field.id] = field.name;
      continue;
    }
    const resolved = field.resolvedType;
    if (resolved instanceof protobuf.Enum) {
      enums.set(resolved.fullName.slice(1), resolved.values);
    } else if (resolved) {
      const full = resolved.fullName.slice(1);
      if (!wanted.has(full) && !full.startsWith("google.protobuf.")) {
        leftOut[name] ??= {};
        leftOut[name][field.id] = field.name;
        dropped.push(`${name}.${field.name} (${full})`);
        continue;
      }
    }
    // protobufjs does not resolve the type of a field that "@add" gave.
    const ownType = field.type.includes(".") ? `.${field.type}` : field.type;
    const entry: FieldJson = { type: resolved ? resolved.fullName : ownType, id: field.id };
    if (field.repeated) entry.rule = "repeated";
    if (field.map) entry.keyType = field.keyType;
    json.fields[field.name] = entry;
    if (field.partOf && !field.partOf.name.startsWith("_")) {
      json.oneofs ??= {};
      json.oneofs[field.partOf.name] ??= { oneof: [] };
      json.oneofs[field.partOf.name]?.oneof.push(field.name);
    }
  }
  messages.set(name, json);
}
for (const file of ["wrappers", "duration", "any", "struct", "timestamp", "empty"]) {
  const nested = protobuf.common.get(`google/protobuf/${file}.proto`).nested.google.nested.protobuf
    .nested;
  for (const [key, value] of Object.entries<Record<string, unknown>>(nested)) {
    const full = `google.protobuf.${key}`;
    if ("values" in value) enums.set(full, value["values"] as Record<string, number>);
    else messages.set(full, value as unknown as MessageJson);
  }
}
// protobufjs names well-known field types relatively and in camelCase: make both as in the .proto.
for (const [name, message] of messages) {
  if (!name.startsWith("google.protobuf.")) continue;
  const fix = (s: string): string => s.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
  message.fields = Object.fromEntries(
    Object.entries(message.fields).map(([key, field]) => [
      fix(key),
      { ...field, type: /^[A-Z]/.test(field.type) ? `.google.protobuf.${field.type}` : field.type },
    ]),
  );
  for (const oneof of Object.values(message.oneofs ?? {})) oneof.oneof = oneof.oneof.map(fix);
}

type Tree = { nested?: Record<string, Tree> } & Record<string, unknown>;
const tree: Tree = { nested: {} };
const put = (full: string, value: object): void => {
  const path = full.split(".");
  let node: Tree = tree;
  for (const key of path) {
    node.nested ??= {};
    node.nested[key] ??= {};
    node = node.nested[key];
  }
  Object.assign(node, value);
};
for (const [name, message] of [...messages].sort(([a], [b]) => a.length - b.length))
  put(name, message);
for (const [name, values] of enums) put(name, { values });

mkdirSync(outDir, { recursive: true });
writeFileSync(
  join(outDir, "descriptors.json"),
  JSON.stringify({ messages: Object.fromEntries(messages), enums: Object.fromEntries(enums) }),
);
writeFileSync(join(outDir, "left-out.json"), JSON.stringify(leftOut));
const jsonPath = join(mkdtempSync(join(tmpdir(), "serin-xds-")), "pruned.json");
writeFileSync(jsonPath, JSON.stringify(tree));
const pbjs = require("protobufjs-cli/pbjs");
const generated = await promisify(pbjs.main)([
  "-t",
  "static-module",
  "-w",
  "commonjs",
  "--keep-case",
  "--force-number",
  "--no-comments",
  "--no-verify",
  "--no-convert",
  "--no-delimited",
  "--no-service",
  jsonPath,
]);
// Unset 64-bit fields read as the number 0, whether or not somebody has installed `long`.
const numbersOnly = generated
  .replaceAll(/\$util\.Long \? \$util\.Long\.fromBits\(0,0,\w+\) : 0/g, "0")
  // Half of the text is indentation, and Node keeps the text of what it runs in memory.
  .replaceAll(/^ +/gm, "");
writeFileSync(join(outDir, "messages.cjs"), numbersOnly);
writeFileSync(join(outDir, "messages.d.cts"), typesOf());
writeFileSync(stampPath, stamp);
process.stdout.write(
  `xds: ${messages.size} messages, ${enums.size} enums` +
    (process.argv.includes("--verbose")
      ? `, dropped ${dropped.join(", ")}\n`
      : `, ${dropped.length} fields dropped\n`),
);

/** Our own .proto files, in the order of their paths. */
function ownProtoFiles(): readonly string[] {
  return readdirSync(ownProtos, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".proto"))
    .sort()
    .map((path) => join(ownProtos, path));
}

/** TypeScript declarations of the generated messages: flat interfaces keyed by full name. */
function typesOf(): string {
  const id = (full: string): string => full.replaceAll(".", "_");
  const scalar: Record<string, string> = {
    string: "string",
    bool: "boolean",
    bytes: "Uint8Array",
    double: "number",
    float: "number",
    int32: "number",
    uint32: "number",
    sint32: "number",
    fixed32: "number",
    sfixed32: "number",
    int64: "number",
    uint64: "number",
    sint64: "number",
    fixed64: "number",
    sfixed64: "number",
  };
  const typeOf = (field: FieldJson): string => {
    const base = scalar[field.type];
    if (base !== undefined) return base;
    return id(field.type.replace(/^\./, ""));
  };
  const out = ["// Generated by scripts/generate-xds.ts. Do not edit.", ""];
  for (const [name, values] of enums) {
    out.push(
      `/** ${name} (as its number): ${Object.entries(values)
        .map(([k, v]) => `${v} ${k}`)
        .join(", ")} */`,
    );
    out.push(`export type ${id(name)} = ${[...new Set(Object.values(values))].join(" | ")};`);
  }
  for (const [name, message] of messages) {
    out.push(`/** ${name} */`, `export interface ${id(name)} {`);
    for (const [key, field] of Object.entries(message.fields)) {
      let type = typeOf(field);
      if (field.keyType) type = `Record<string, ${type}>`;
      else if (field.rule === "repeated") type = `${type}[]`;
      out.push(`  ${key}?: ${type} | null | undefined;`);
    }
    out.push("}");
  }
  out.push("export interface MessageTypes {");
  for (const name of messages.keys()) out.push(`  "${name}": ${id(name)};`);
  out.push("}", "declare const root: object;", "export default root;", "");
  return out.join("\n");
}

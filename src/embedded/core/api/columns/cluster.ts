import { ageSince } from "../age.ts";
import { arrayAt, type JsonObject, numberAt, objectAt, objectsAt, stringAt } from "../json.ts";
import { column, NAME_COLUMN, type TableColumns, wideColumn } from "./table-columns.ts";

const nameOf = (object: JsonObject): unknown => stringAt(object, "metadata", "name");
const ageOf = (object: JsonObject, nowMs: number): string =>
  ageSince(stringAt(object, "metadata", "creationTimestamp"), nowMs);

/** What a kind without columns of its own shows: name and age. */
export const plainColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Age")],
  cells: (object, nowMs) => [nameOf(object), ageOf(object, nowMs)],
};

/** Kinds that show when they were created. */
export const createdAtColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Created At")],
  cells: (object) => [nameOf(object), stringAt(object, "metadata", "creationTimestamp")],
};

export const namespaceColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Status"), column("Age")],
  cells: (object, nowMs) => [
    nameOf(object),
    stringAt(object, "status", "phase"),
    ageOf(object, nowMs),
  ],
};

export const nodeColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Status"),
    column("Roles"),
    column("Age"),
    column("Version"),
    wideColumn("Internal-IP"),
    wideColumn("External-IP"),
    wideColumn("OS-Image"),
    wideColumn("Kernel-Version"),
    wideColumn("Container-Runtime"),
  ],
  cells: (object, nowMs) => {
    const info = objectAt(object, "status", "nodeInfo");
    const address = (type: string): string =>
      stringAt(
        objectsAt(object, "status", "addresses").find((a) => a["type"] === type),
        "address",
      ) ?? "<none>";
    return [
      nameOf(object),
      nodeStatus(object),
      nodeRoles(object),
      ageOf(object, nowMs),
      stringAt(info, "kubeletVersion") ?? "",
      address("InternalIP"),
      address("ExternalIP"),
      stringAt(info, "osImage") ?? "<unknown>",
      stringAt(info, "kernelVersion") ?? "<unknown>",
      stringAt(info, "containerRuntimeVersion") ?? "<unknown>",
    ];
  },
};

function nodeStatus(node: JsonObject): string {
  const ready = objectsAt(node, "status", "conditions").find((c) => c["type"] === "Ready");
  const state = ready === undefined ? "Unknown" : ready["status"] === "True" ? "Ready" : "NotReady";
  return objectAt(node, "spec")?.["unschedulable"] === true ? `${state},SchedulingDisabled` : state;
}

function nodeRoles(node: JsonObject): string {
  const prefix = "node-role.kubernetes.io/";
  const roles = Object.keys(objectAt(node, "metadata", "labels") ?? {})
    .filter((label) => label.startsWith(prefix))
    .map((label) => label.slice(prefix.length));
  return roles.sort().join(",") || "<none>";
}

export const configMapColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Data"), column("Age")],
  cells: (object, nowMs) => [
    nameOf(object),
    dataCount(object, "data") + dataCount(object, "binaryData"),
    ageOf(object, nowMs),
  ],
};

export const secretColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Type"), column("Data"), column("Age")],
  cells: (object, nowMs) => [
    nameOf(object),
    stringAt(object, "type"),
    dataCount(object, "data"),
    ageOf(object, nowMs),
  ],
};

function dataCount(object: JsonObject, field: string): number {
  return Object.keys(objectAt(object, field) ?? {}).length;
}

export const serviceAccountColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Secrets"), column("Age")],
  cells: (object, nowMs) => [
    nameOf(object),
    arrayAt(object, "secrets").length,
    ageOf(object, nowMs),
  ],
};

export const eventColumns: TableColumns = {
  definitions: [
    column("Last Seen"),
    column("Type"),
    column("Reason"),
    column("Object"),
    wideColumn("Subobject"),
    wideColumn("Source"),
    column("Message"),
    wideColumn("First Seen"),
    wideColumn("Count"),
    { ...NAME_COLUMN, priority: 1 },
  ],
  cells: (event, nowMs) => {
    const eventTime = stringAt(event, "eventTime");
    const last =
      stringAt(event, "series", "lastObservedTime") ??
      stringAt(event, "lastTimestamp") ??
      eventTime;
    const kind = (stringAt(event, "involvedObject", "kind") ?? "").toLowerCase();
    const host = stringAt(event, "source", "host");
    const component =
      stringAt(event, "source", "component") ?? stringAt(event, "reportingComponent") ?? "";
    return [
      ageSince(last, nowMs),
      stringAt(event, "type"),
      stringAt(event, "reason"),
      `${kind}/${stringAt(event, "involvedObject", "name")}`,
      stringAt(event, "involvedObject", "fieldPath") ?? "",
      host === undefined ? component : `${component}, ${host}`,
      (stringAt(event, "message") ?? "").trim(),
      ageSince(stringAt(event, "firstTimestamp") ?? eventTime, nowMs),
      numberAt(event, "series", "count") ?? numberAt(event, "count") ?? 1,
      nameOf(event),
    ];
  },
};

export const leaseColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Holder"), column("Age")],
  cells: (object, nowMs) => [
    nameOf(object),
    stringAt(object, "spec", "holderIdentity") ?? "",
    ageOf(object, nowMs),
  ],
};

export const webhookConfigurationColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Webhooks", "integer"), column("Age")],
  cells: (object, nowMs) => [
    nameOf(object),
    arrayAt(object, "webhooks").length,
    ageOf(object, nowMs),
  ],
};

export const roleBindingColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Role"),
    column("Age"),
    wideColumn("Users"),
    wideColumn("Groups"),
    wideColumn("ServiceAccounts"),
  ],
  cells: (object, nowMs) => {
    const named = (kind: string): string =>
      objectsAt(object, "subjects")
        .filter((subject) => subject["kind"] === kind)
        .map((subject) =>
          kind === "ServiceAccount"
            ? `${subject["namespace"]}/${subject["name"]}`
            : subject["name"],
        )
        .join(", ");
    return [
      nameOf(object),
      `${stringAt(object, "roleRef", "kind")}/${stringAt(object, "roleRef", "name")}`,
      ageOf(object, nowMs),
      named("User"),
      named("Group"),
      named("ServiceAccount"),
    ];
  },
};

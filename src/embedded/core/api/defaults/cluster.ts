import { type JsonObject, objectAt, stringAt } from "../json.ts";
import { draftsOf, ensureObject, setDefault } from "./set-default.ts";

/** v1 Namespace: the `kubernetes` finalizer, its name as a label, phase Active. */
export function defaultNamespace(namespace: JsonObject): void {
  const spec = ensureObject(namespace, "spec");
  const metadata = ensureObject(namespace, "metadata");
  if (metadata["deletionTimestamp"] === undefined) setDefault(spec, "finalizers", ["kubernetes"]);
  const name = stringAt(metadata, "name");
  if (name !== undefined && name !== "") {
    ensureObject(metadata, "labels")["kubernetes.io/metadata.name"] = name;
  }
  setDefault(ensureObject(namespace, "status"), "phase", "Active");
}

/** v1 Secret: `stringData` is written into `data`. */
export function defaultSecret(secret: JsonObject): void {
  setDefault(secret, "type", "Opaque");
  const stringData = objectAt(secret, "stringData");
  if (stringData === undefined) return;
  const data = ensureObject(secret, "data");
  for (const [key, value] of Object.entries(stringData)) {
    if (typeof value === "string") data[key] = base64(value);
  }
  delete secret["stringData"];
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** admissionregistration.k8s.io/v1 webhook configurations of both kinds. */
export function defaultWebhookConfiguration(configuration: JsonObject): void {
  for (const webhook of draftsOf(configuration, "webhooks")) {
    setDefault(webhook, "failurePolicy", "Fail");
    setDefault(webhook, "matchPolicy", "Equivalent");
    setDefault(webhook, "namespaceSelector", {});
    setDefault(webhook, "objectSelector", {});
    setDefault(webhook, "timeoutSeconds", 10);
    if (configuration["kind"] === "MutatingWebhookConfiguration") {
      setDefault(webhook, "reinvocationPolicy", "Never");
    }
    for (const rule of draftsOf(webhook, "rules")) setDefault(rule, "scope", "*");
    const service = objectAt(webhook, "clientConfig", "service");
    if (service !== undefined) setDefault(service, "port", 443);
  }
}

/** apiextensions.k8s.io/v1 CustomResourceDefinition: names and conversion. */
export function defaultCustomResourceDefinition(definition: JsonObject): void {
  const spec = ensureObject(definition, "spec");
  const names = ensureObject(spec, "names");
  const kind = stringAt(names, "kind") ?? "";
  setDefault(names, "singular", kind.toLowerCase());
  setDefault(names, "listKind", `${kind}List`);
  setDefault(spec, "conversion", { strategy: "None" });
}

/** rbac.authorization.k8s.io/v1 bindings: groups of roles and subjects. */
export function defaultBinding(binding: JsonObject): void {
  const roleRef = objectAt(binding, "roleRef");
  if (roleRef !== undefined) setDefault(roleRef, "apiGroup", "rbac.authorization.k8s.io");
  for (const subject of draftsOf(binding, "subjects")) {
    const isServiceAccount = subject["kind"] === "ServiceAccount";
    setDefault(subject, "apiGroup", isServiceAccount ? "" : "rbac.authorization.k8s.io");
    if (subject["apiGroup"] === "") delete subject["apiGroup"];
  }
}

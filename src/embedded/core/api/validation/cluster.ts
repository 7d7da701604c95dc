import {
  duplicate,
  type FieldError,
  forbiddenField,
  invalidValue,
  notSupported,
  required,
} from "../field-error.ts";
import { arrayAt, deepEqual, type JsonObject, objectAt, objectsAt, stringAt } from "../json.ts";
import { dns1035Problem, dnsSubdomainProblem } from "../names.ts";
import { immutable, validateSelector } from "./metadata.ts";
import { oneOf } from "./pod.ts";
import { validateStructuralSchema } from "./structural-schema.ts";

const KEY_RULE =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const MAX_DATA_BYTES = 1024 * 1024;

/** v1 ConfigMap and Secret: keys and size. */
export function validateData(object: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  let sizeBytes = 0;
  for (const field of ["data", "binaryData"]) {
    for (const [key, value] of Object.entries(objectAt(object, field) ?? {})) {
      if (!/^[-._a-zA-Z0-9]+$/.test(key)) {
        errors.push(invalidValue(`${field}[${key}]`, key, KEY_RULE));
      }
      sizeBytes += String(value).length;
      if (object["kind"] === "Secret" && !isBase64(String(value))) {
        errors.push(invalidValue(`${field}[${key}]`, value, "must be base64"));
      }
    }
  }
  if (sizeBytes > MAX_DATA_BYTES) {
    const detail = `may not be more than ${MAX_DATA_BYTES} bytes`;
    errors.push({ reason: "FieldValueTooLong", field: "", detail });
  }
  return errors;
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/\r\n]*={0,2}$/.test(text);
}

/** An immutable ConfigMap or Secret stays as it is; a Secret keeps its type. */
export function validateDataUpdate(next: JsonObject, old: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [...immutable(next["type"], old["type"], "type")];
  if (old["immutable"] !== true) return errors;
  const detail = "field is immutable when `immutable` is set";
  if (next["immutable"] !== true) errors.push(forbiddenField("immutable", detail));
  for (const field of ["data", "binaryData"]) {
    if (!deepEqual(next[field], old[field])) errors.push(forbiddenField(field, detail));
  }
  return errors;
}

/** v1 Event: its object lives where it does. */
export function validateEvent(event: JsonObject): readonly FieldError[] {
  const namespace = stringAt(event, "metadata", "namespace") ?? "";
  const involved = stringAt(event, "involvedObject", "namespace") ?? "";
  if (involved === namespace || (involved === "" && namespace === "default")) return [];
  return [invalidValue("involvedObject.namespace", involved, "does not match event.namespace")];
}

/** admissionregistration.k8s.io/v1 webhook configurations. */
export function validateWebhookConfiguration(configuration: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, webhook] of objectsAt(configuration, "webhooks").entries()) {
    const at = `webhooks[${index}]`;
    const name = stringAt(webhook, "name") ?? "";
    const problem = dnsSubdomainProblem(name);
    if (name === "") errors.push(required(`${at}.name`));
    else if (problem !== undefined) errors.push(invalidValue(`${at}.name`, name, problem));
    else if (name.split(".").length < 3) {
      const detail = "should be a domain with at least three segments separated by dots";
      errors.push(invalidValue(`${at}.name`, name, detail));
    }
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    validateWebhook(webhook, at, errors);
  }
  return errors;
}

function validateWebhook(webhook: JsonObject, at: string, errors: FieldError[]): void {
  const versions = arrayAt(webhook, "admissionReviewVersions");
  if (versions.length === 0) {
    const detail = "must specify one of v1, v1beta1";
    errors.push(required(`${at}.admissionReviewVersions`, detail));
  } else if (!versions.includes("v1")) {
    const detail = "must include at least one of v1";
    errors.push(invalidValue(`${at}.admissionReviewVersions`, versions, detail));
  }
  const sideEffects = stringAt(webhook, "sideEffects") ?? "";
  if (sideEffects === "")
    errors.push(required(`${at}.sideEffects`, "must specify one of None, NoneOnDryRun"));
  else if (!["None", "NoneOnDryRun"].includes(sideEffects)) {
    errors.push(notSupported(`${at}.sideEffects`, sideEffects, ["None", "NoneOnDryRun"]));
  }
  oneOf(webhook, "failurePolicy", ["Fail", "Ignore"], at, errors);
  oneOf(webhook, "matchPolicy", ["Equivalent", "Exact"], at, errors);
  const timeout = webhook["timeoutSeconds"];
  if (typeof timeout === "number" && (timeout < 1 || timeout > 30)) {
    const detail = "the timeout value must be between 1 and 30 seconds";
    errors.push(invalidValue(`${at}.timeoutSeconds`, timeout, detail));
  }
  for (const selector of ["namespaceSelector", "objectSelector"]) {
    errors.push(...validateSelector(webhook[selector], `${at}.${selector}`));
  }
  const config = objectAt(webhook, "clientConfig") ?? {};
  const url = stringAt(config, "url");
  if ((url === undefined) === (objectAt(config, "service") === undefined)) {
    errors.push(required(`${at}.clientConfig`, "exactly one of url or service is required"));
  }
  if (url !== undefined && !url.startsWith("https://")) {
    const detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
    errors.push(invalidValue(`${at}.clientConfig.url`, url, detail));
  }
  validateRules(webhook, at, errors);
}

function validateRules(webhook: JsonObject, at: string, errors: FieldError[]): void {
  for (const [index, rule] of objectsAt(webhook, "rules").entries()) {
    for (const field of ["apiGroups", "apiVersions", "resources", "operations"]) {
      if (arrayAt(rule, field).length === 0)
        errors.push(required(`${at}.rules[${index}].${field}`));
    }
    for (const [o, operation] of arrayAt(rule, "operations").entries()) {
      const allowed = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
      if (!allowed.includes(String(operation))) {
        errors.push(notSupported(`${at}.rules[${index}].operations[${o}]`, operation, allowed));
      }
    }
  }
}

/** apiextensions.k8s.io/v1 CustomResourceDefinition. */
export function validateCustomResourceDefinition(definition: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const spec = objectAt(definition, "spec") ?? {};
  const group = stringAt(spec, "group") ?? "";
  const plural = stringAt(spec, "names", "plural") ?? "";
  if (group === "") errors.push(required("spec.group"));
  if (plural === "") errors.push(required("spec.names.plural"));
  if ((stringAt(spec, "names", "kind") ?? "") === "") errors.push(required("spec.names.kind"));
  const name = stringAt(definition, "metadata", "name") ?? "";
  if (name !== `${plural}.${group}`) {
    errors.push(invalidValue("metadata.name", name, 'must be spec.names.plural+"."+spec.group'));
  }
  const scope = stringAt(spec, "scope") ?? "";
  if (!["Cluster", "Namespaced"].includes(scope)) {
    errors.push(
      scope === ""
        ? required("spec.scope")
        : notSupported("spec.scope", scope, ["Cluster", "Namespaced"]),
    );
  }
  if (stringAt(spec, "conversion", "strategy") === "Webhook") {
    // Said here rather than silently serving unconverted objects.
    const detail = "this API server converts between versions by apiVersion alone";
    errors.push(
      notSupported("spec.conversion.strategy", "Webhook", ["None"]),
      invalidValue("spec.conversion", "Webhook", detail),
    );
  }
  validateVersions(objectsAt(spec, "versions"), errors);
  return errors;
}

function validateVersions(versions: readonly JsonObject[], errors: FieldError[]): void {
  if (versions.filter((version) => version["storage"] === true).length !== 1) {
    const detail = "must have exactly one version marked as storage version";
    errors.push(
      invalidValue(
        "spec.versions",
        versions.map((v) => v["name"]),
        detail,
      ),
    );
  }
  const names = new Set<string>();
  for (const [index, version] of versions.entries()) {
    const at = `spec.versions[${index}]`;
    const name = stringAt(version, "name") ?? "";
    const problem = dns1035Problem(name);
    if (problem !== undefined) errors.push(invalidValue(`${at}.name`, name, problem));
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    const schema = objectAt(version, "schema", "openAPIV3Schema");
    if (schema === undefined) {
      errors.push(required(`${at}.schema.openAPIV3Schema`, "schemas are required"));
    } else if (schema["type"] !== "object") {
      const detail = "must be object at the root";
      const field = `${at}.schema.openAPIV3Schema.type`;
      errors.push(
        schema["type"] === undefined
          ? required(field, "must not be empty at the root")
          : invalidValue(field, schema["type"], detail),
      );
    } else errors.push(...validateStructuralSchema(schema, `${at}.schema.openAPIV3Schema`));
  }
}

/** Group, kind, plural and scope of a definition never change. */
export function validateCustomResourceDefinitionUpdate(
  next: JsonObject,
  old: JsonObject,
): readonly FieldError[] {
  return [
    ...immutable(stringAt(next, "spec", "group"), stringAt(old, "spec", "group"), "spec.group"),
    ...immutable(stringAt(next, "spec", "scope"), stringAt(old, "spec", "scope"), "spec.scope"),
    ...["kind", "plural"].flatMap((field) =>
      immutable(
        stringAt(next, "spec", "names", field),
        stringAt(old, "spec", "names", field),
        `spec.names.${field}`,
      ),
    ),
  ];
}

/** rbac.authorization.k8s.io/v1 bindings. */
export function validateBinding(binding: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const roleRef = objectAt(binding, "roleRef") ?? {};
  oneOf(roleRef, "kind", ["ClusterRole", "Role"], "roleRef", errors);
  for (const field of ["kind", "name"]) {
    if ((stringAt(roleRef, field) ?? "") === "") errors.push(required(`roleRef.${field}`));
  }
  for (const [index, subject] of objectsAt(binding, "subjects").entries()) {
    oneOf(subject, "kind", ["Group", "ServiceAccount", "User"], `subjects[${index}]`, errors);
    if ((stringAt(subject, "name") ?? "") === "") errors.push(required(`subjects[${index}].name`));
  }
  return errors;
}

/** A binding keeps its role. */
export function validateBindingUpdate(next: JsonObject, old: JsonObject): readonly FieldError[] {
  return immutable(next["roleRef"], old["roleRef"], "roleRef", "cannot change roleRef");
}

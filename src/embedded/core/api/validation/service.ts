import {
  duplicate,
  type FieldError,
  invalidValue,
  notSupported,
  required,
} from "../field-error.ts";
import { arrayAt, type JsonObject, numberAt, objectAt, objectsAt, stringAt } from "../json.ts";
import { dnsLabelProblem, dnsSubdomainProblem } from "../names.ts";
import { validateLabels } from "./metadata.ts";
import { isPort, oneOf, validatePortReference } from "./pod.ts";

const PORT_RANGE = "must be between 1 and 65535, inclusive";

/** v1 Service. */
export function validateService(service: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const spec = objectAt(service, "spec") ?? {};
  const type = stringAt(spec, "type") ?? "";
  const types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
  oneOf(spec, "type", types, "spec", errors);
  oneOf(spec, "sessionAffinity", ["ClientIP", "None"], "spec", errors);
  if (type === "ExternalName") {
    const name = stringAt(spec, "externalName") ?? "";
    const problem = dnsSubdomainProblem(name);
    if (name === "") errors.push(required("spec.externalName"));
    else if (problem !== undefined) errors.push(invalidValue("spec.externalName", name, problem));
  }
  errors.push(...validateLabels(objectAt(spec, "selector"), "spec.selector"));
  const ports = objectsAt(spec, "ports");
  if (ports.length === 0 && type !== "ExternalName" && spec["clusterIP"] !== "None") {
    errors.push(required("spec.ports"));
  }
  validatePorts(ports, errors);
  const clusterIP = stringAt(spec, "clusterIP") ?? "";
  if (clusterIP !== "" && clusterIP !== "None" && !isIp(clusterIP)) {
    const detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    errors.push(invalidValue("spec.clusterIPs[0]", clusterIP, detail));
  }
  return errors;
}

function validatePorts(ports: readonly JsonObject[], errors: FieldError[]): void {
  const names = new Set<string>();
  const numbers = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`;
    const name = stringAt(port, "name") ?? "";
    if (name === "") {
      if (ports.length > 1) errors.push(required(`${at}.name`));
    } else {
      const problem = dnsLabelProblem(name);
      if (problem !== undefined) errors.push(invalidValue(`${at}.name`, name, problem));
      if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
      names.add(name);
    }
    const number = numberAt(port, "port") ?? 0;
    if (!isPort(number)) errors.push(invalidValue(`${at}.port`, number, PORT_RANGE));
    oneOf(port, "protocol", ["SCTP", "TCP", "UDP"], at, errors);
    if (port["targetPort"] !== undefined) {
      validatePortReference(port["targetPort"], `${at}.targetPort`, errors);
    }
    const key = `${port["protocol"]}/${number}`;
    if (numbers.has(key)) errors.push(duplicate(at, { protocol: port["protocol"], port: number }));
    numbers.add(key);
  }
}

/** The cluster IP of a Service never changes, except on its way from or to ExternalName. */
export function validateServiceUpdate(next: JsonObject, old: JsonObject): readonly FieldError[] {
  const ipOf = (service: JsonObject): string => stringAt(service, "spec", "clusterIP") ?? "";
  const isExternal = (service: JsonObject): boolean =>
    stringAt(service, "spec", "type") === "ExternalName";
  if (isExternal(next) || isExternal(old) || ipOf(old) === "") return [];
  if (ipOf(next) === "") {
    return [
      invalidValue(
        "spec.clusterIPs[0]",
        arrayAt(next, "spec", "clusterIPs"),
        "primary clusterIP can not be unset",
      ),
    ];
  }
  if (ipOf(next) !== ipOf(old)) {
    const detail = "may not change once set";
    return [invalidValue("spec.clusterIPs[0]", arrayAt(next, "spec", "clusterIPs"), detail)];
  }
  return [];
}

function isIp(text: string): boolean {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text))
    return text.split(".").every((part) => Number(part) < 256);
  return /^[0-9a-fA-F:]+$/.test(text) && text.includes(":");
}

/** discovery.k8s.io/v1 EndpointSlice. */
export function validateEndpointSlice(slice: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const types = ["FQDN", "IPv4", "IPv6"];
  const type = stringAt(slice, "addressType") ?? "";
  if (type === "") errors.push(required("addressType"));
  else if (!types.includes(type)) errors.push(notSupported("addressType", type, types));
  for (const [index, endpoint] of objectsAt(slice, "endpoints").entries()) {
    const addresses = arrayAt(endpoint, "addresses");
    if (addresses.length === 0) {
      const detail = "must contain at least 1 address";
      errors.push(required(`endpoints[${index}].addresses`, detail));
    }
    for (const [at, address] of addresses.entries()) {
      if (type === "IPv4" && !isIp(String(address))) {
        const detail = "must be a valid IPv4 address";
        errors.push(invalidValue(`endpoints[${index}].addresses[${at}]`, address, detail));
      }
    }
  }
  return errors;
}

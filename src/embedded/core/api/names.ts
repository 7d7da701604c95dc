const DNS_LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const DNS_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const QUALIFIED = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

const LABEL_RULE =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035_RULE =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_RULE =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** What is wrong with an RFC 1123 label, or undefined. */
export function dnsLabelProblem(value: string): string | undefined {
  if (value.length > 63) return "must be no more than 63 characters";
  return DNS_LABEL.test(value) ? undefined : LABEL_RULE;
}

/** What is wrong with an RFC 1123 subdomain, or undefined. */
export function dnsSubdomainProblem(value: string): string | undefined {
  if (value.length > 253) return "must be no more than 253 characters";
  return DNS_SUBDOMAIN.test(value) ? undefined : SUBDOMAIN_RULE;
}

/** What is wrong with an RFC 1035 label (Services), or undefined. */
export function dns1035Problem(value: string): string | undefined {
  if (value.length > 63) return "must be no more than 63 characters";
  return DNS_1035.test(value) ? undefined : DNS_1035_RULE;
}

/** What is wrong with a name that only has to be one path segment (RBAC), or undefined. */
export function pathSegmentProblem(value: string): string | undefined {
  if (value === "." || value === "..") return `may not be '${value}'`;
  if (value.includes("/")) return "may not contain '/'";
  return value.includes("%") ? "may not contain '%'" : undefined;
}

/** What is wrong with the key of a label or annotation, or undefined. */
export function labelKeyProblem(key: string): string | undefined {
  const parts = key.split("/");
  const name = parts.at(-1) ?? "";
  if (parts.length > 2) {
    return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
  }
  if (parts.length === 2) {
    if (parts[0] === "") return "prefix part must be non-empty";
    const problem = dnsSubdomainProblem(parts[0] ?? "");
    if (problem !== undefined) return `prefix part ${problem}`;
  }
  if (name === "") return "name part must be non-empty";
  if (name.length > 63) return "name part must be no more than 63 characters";
  return QUALIFIED.test(name) ? undefined : QUALIFIED_RULE;
}

/** What is wrong with the value of a label, or undefined. */
export function labelValueProblem(value: string): string | undefined {
  if (value.length > 63) return "must be no more than 63 characters";
  return value === "" || QUALIFIED.test(value) ? undefined : VALUE_RULE;
}

/** What is wrong with the name of a port (IANA service name), or undefined. */
export function portNameProblem(value: string): string | undefined {
  if (value.length > 15) return "must be no more than 15 characters";
  if (!/^[-a-z0-9]+$/.test(value))
    return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
  if (!/[a-z]/.test(value)) return "must contain at least one letter (a-z)";
  if (value.includes("--")) return "must not contain consecutive hyphens";
  if (value.startsWith("-") || value.endsWith("-")) return "must not begin or end with a hyphen";
  return undefined;
}

import { type Any, unpackAny } from "../../../xds/index.ts";
import { compileRegex } from "./regex.ts";
import type { Scope } from "./scope.ts";

/** What Envoy lets a variable take: RFC 3986's unreserved, escaped and most reserved characters. */
const LITERAL = "a-zA-Z0-9\\-._~%!$&'()+,;:@=*";
const SEGMENT = `[${LITERAL}]+`;
const REST = `[${LITERAL}/]*`;
const MAX_VARIABLES = 5;

/** A path template: which paths fit, and the names of its variables in the order of the groups. */
export interface UriTemplate {
  readonly regex: RegExp;
  readonly variables: readonly string[];
}

const MESSAGE = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";

/** Compiles the extension that matches paths by a template. Undefined after recording a problem. */
export function compilePathTemplate(
  config: Any | null | undefined,
  scope: Scope,
): UriTemplate | undefined {
  const message = unpackAny(MESSAGE, config);
  if (message !== undefined) {
    return compileUriTemplate(message.path_template ?? "", scope.at("path_template"));
  }
  scope.fail("must be a UriTemplateMatchConfig");
  return undefined;
}

/**
 * Compiles a path template: `*` is a segment, `**` any rest, `{name}` and `{name=videos/*}` take what
 * fits. Undefined after recording a problem. Source: Envoy docs, UriTemplateMatchConfig.
 */
export function compileUriTemplate(template: string, scope: Scope): UriTemplate | undefined {
  const variables: string[] = [];
  let source = "";
  let hasRest = false;
  let isAfterSlash = false;
  const problem = (message: string): undefined => {
    scope.fail(`${message} (found ${JSON.stringify(template)})`);
    return undefined;
  };
  if (!template.startsWith("/")) return problem("must begin with /");
  // A variable, an operator, or text up to the next of them.
  const parts = template.match(/\{[^{}]*\}|\*\*|\*|[^{}*]+|[{}]/g) ?? [];
  for (const part of parts) {
    if (part === "{" || part === "}") return problem("has a brace without its other");
    const isOperator = part.startsWith("{") || part.startsWith("*");
    if (isOperator && !isAfterSlash)
      return problem("must have at most one operator in a segment, first");
    isAfterSlash = part.endsWith("/");
    if (isOperator && hasRest) return problem("must not have an operator behind **");
    if (!part.startsWith("{")) {
      if (part === "**") hasRest = true;
      source += patternOf(part);
      continue;
    }
    const [, name = "", pattern = "*"] = /^\{([^=]*)(?:=(.*))?\}$/.exec(part) ?? [];
    if (!/^[a-zA-Z]\w{0,15}$/.test(name)) return problem("has a variable without a proper name");
    if (variables.includes(name)) return problem(`has the variable ${name} twice`);
    if (pattern === "") return problem(`has no pattern for the variable ${name}`);
    variables.push(name);
    hasRest ||= pattern.includes("**");
    const inner = (pattern.match(/\*\*|\*|[^*]+/g) ?? []).map(patternOf).join("");
    source += `(${inner})`;
  }
  if (variables.length > MAX_VARIABLES) return problem(`has more than ${MAX_VARIABLES} variables`);
  const regex = compileRegex({ regex: source }, scope);
  return regex && { regex, variables };
}

function patternOf(part: string): string {
  if (part === "**") return REST;
  if (part === "*") return SEGMENT;
  return part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&");
}

/** The replacement for a path that fits `template`. Undefined after recording a problem. */
export function compileTemplateRewrite(
  rewrite: string,
  template: UriTemplate,
  scope: Scope,
): { readonly pattern: RegExp; readonly substitution: string } | undefined {
  if (!rewrite.startsWith("/")) {
    scope.fail(`must begin with / (found ${JSON.stringify(rewrite)})`);
    return undefined;
  }
  let substitution = "";
  for (const part of rewrite.match(/\{[^{}]*\}|[^{}]+|[{}]/g) ?? []) {
    if (!part.startsWith("{") && part !== "}") {
      substitution += part.replaceAll("$", "$$$$");
      continue;
    }
    const index = template.variables.indexOf(part.slice(1, -1));
    if (index < 0) {
      scope.fail(`${part} is no variable of the path that is matched`);
      return undefined;
    }
    substitution += `$${index + 1}`;
  }
  return { pattern: template.regex, substitution };
}

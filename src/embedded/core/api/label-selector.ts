import type { LabelSelector, StringMap } from "../../../api/index.ts";
import { labelKeyProblem, labelValueProblem } from "./names.ts";
import { badRequest } from "./status-error.ts";

/** One condition of a label selector as written on the wire. */
export interface LabelRequirement {
  readonly key: string;
  readonly operator: "=" | "!=" | "in" | "notin" | "exists" | "!" | ">" | "<";
  readonly values: readonly string[];
}

const TOKEN = /\s*(==|!=|[=!,()<>]|[^\s=!,()<>]+)/y;

/**
 * Parses the full grammar of `labelSelector`: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
 * Throws a 400 StatusError that names what was found instead.
 */
export function parseLabelSelector(text: string): readonly LabelRequirement[] {
  const tokens = tokenize(text);
  const requirements: LabelRequirement[] = [];
  let at = 0;
  const fail = (expected: string): never => {
    const found = tokens[at] ?? "";
    throw badRequest(
      `unable to parse requirement: found '${found}', expected: ${expected} (in ${JSON.stringify(text)})`,
    );
  };
  const values = (): string[] => {
    if (tokens[at] !== "(") fail("'('");
    at += 1;
    const list: string[] = [];
    for (;;) {
      const token = tokens[at];
      if (token === ")" || token === ",") list.push("");
      else if (token !== undefined && isWord(token)) {
        list.push(token);
        at += 1;
      } else fail("identifier");
      if (tokens[at] === ")") break;
      if (tokens[at] !== ",") fail("',' or ')'");
      at += 1;
    }
    at += 1;
    return list;
  };
  const requirement = (): LabelRequirement => {
    const negated = tokens[at] === "!";
    if (negated) at += 1;
    const key = tokens[at] ?? "";
    if (!isWord(key)) fail("identifier");
    at += 1;
    if (negated) return { key, operator: "!", values: [] };
    const operator = tokens[at];
    if (operator === undefined || operator === ",") return { key, operator: "exists", values: [] };
    at += 1;
    if (operator === "in" || operator === "notin") return { key, operator, values: values() };
    if (!["=", "==", "!=", ">", "<"].includes(operator)) {
      at -= 1;
      fail("in, notin, =, ==, !=, gt, lt");
    }
    const next = tokens[at];
    const value = next !== undefined && isWord(next) ? next : "";
    if (value !== "") at += 1;
    const plain = operator === "==" ? "=" : (operator as "=" | "!=" | ">" | "<");
    return { key, operator: plain, values: [value] };
  };
  while (at < tokens.length) {
    requirements.push(checked(requirement()));
    if (at < tokens.length) {
      if (tokens[at] !== ",") fail("','");
      at += 1;
      if (at === tokens.length) fail("identifier after ','");
    }
  }
  return requirements;
}

function tokenize(text: string): readonly string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const match = TOKEN.exec(text);
    if (match?.[1] === undefined) break;
    tokens.push(match[1]);
  }
  return tokens;
}

function isWord(token: string): boolean {
  return !/[=!,()<>]/.test(token) && token !== "";
}

function checked(requirement: LabelRequirement): LabelRequirement {
  const { key, operator, values } = requirement;
  const keyProblem = labelKeyProblem(key);
  if (keyProblem !== undefined) {
    throw badRequest(
      `unable to parse requirement: key: Invalid value: ${JSON.stringify(key)}: ${keyProblem}`,
    );
  }
  for (const [index, value] of values.entries()) {
    const problem =
      operator === ">" || operator === "<"
        ? /^-?\d+$/.test(value)
          ? undefined
          : "for 'Gt', 'Lt' operators, the value must be an integer"
        : labelValueProblem(value);
    if (problem !== undefined) {
      throw badRequest(
        `unable to parse requirement: values[${index}][${key}]: Invalid value: ${JSON.stringify(value)}: ${problem}`,
      );
    }
  }
  return requirement;
}

/** Whether labels satisfy every requirement. */
export function labelsMatch(
  requirements: readonly LabelRequirement[],
  labels: StringMap | undefined,
): boolean {
  return requirements.every((requirement) => holds(requirement, labels));
}

function holds(requirement: LabelRequirement, labels: StringMap | undefined): boolean {
  const { key, operator, values } = requirement;
  const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "exists":
      return value !== undefined;
    case "!":
      return value === undefined;
    case "=":
    case "in":
      return value !== undefined && values.includes(value);
    case "!=":
    case "notin":
      return value === undefined || !values.includes(value);
    case ">":
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) > Number(values[0]);
    case "<":
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) < Number(values[0]);
  }
}

/** A LabelSelector as the wire's text (`scale` status, `describe`). */
export function formatLabelSelector(selector: LabelSelector | undefined): string {
  const parts = Object.entries(selector?.matchLabels ?? {}).map(
    ([key, value]) => `${key}=${value}`,
  );
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    if (operator === "In") parts.push(`${key} in (${[...values].sort().join(",")})`);
    else if (operator === "NotIn") parts.push(`${key} notin (${[...values].sort().join(",")})`);
    else parts.push(operator === "Exists" ? key : `!${key}`);
  }
  return parts.sort().join(",");
}

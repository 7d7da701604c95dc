import { compileOperator, type Operator, type OperatorOptions } from "./format-operators.ts";

/**
 * Takes a format with command operators (`%REQ(X-A)%`) apart into texts and operators; `%%` is a
 * percent sign. `fail` is told what is wrong with it. Source: Envoy docs, "Access logging".
 */
export function parseFormatString(
  format: string,
  options: OperatorOptions,
  fail: (message: string) => void,
): readonly (string | Operator)[] {
  const parts: (string | Operator)[] = [];
  const pattern = /%%|%([A-Z_0-9]+)(?:\(([^)]*)\))?(?::(\d+))?%/g;
  const literal = (text: string): void => {
    if (text.includes("%")) fail(`incorrect command operator in ${JSON.stringify(text)}`);
    if (text !== "") parts.push(text);
  };
  let end = 0;
  for (const match of format.matchAll(pattern)) {
    literal(format.slice(end, match.index));
    end = match.index + match[0].length;
    const [all, name = "", argument, length] = match;
    const maxLength = length === undefined ? undefined : Number(length);
    if (all === "%%") parts.push("%");
    else parts.push(compileOperator({ name, argument, maxLength }, options, fail));
  }
  literal(format.slice(end));
  return parts;
}

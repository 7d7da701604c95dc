import type { KubeObject } from "../../api/index.ts";
import { MESSAGES } from "../../mesh/index.ts";
import { usageError } from "../usage.ts";

/** Whether findings of that code about that resource are not to be reported. */
export type Suppression = (code: string, object: KubeObject) => boolean;

/**
 * Reads `CODE=KIND NAME[.NAMESPACE]` flags (istioctl's); `*` stands for any text in names, and alone for
 * every resource. Throws SERIN_USAGE.
 */
export function parseSuppression(flags: readonly string[]): Suppression {
  const rules = flags.map((flag) => {
    const at = flag.indexOf("=");
    const [code, name] = [flag.slice(0, at), flag.slice(at + 1).trim()];
    if (at < 1 || name === "") {
      throw usageError(`--suppress must be CODE=KIND NAME[.NAMESPACE] (found ${flag})`);
    }
    if (!Object.hasOwn(MESSAGES, code)) throw usageError(`--suppress: unknown code ${code}`);
    return { code, pattern: patternOf(name) };
  });
  return (code, { kind, metadata }) => {
    const { name, namespace } = metadata;
    const names = [
      `${kind} ${name}`,
      ...(namespace === undefined ? [] : [`${kind} ${name}.${namespace}`]),
    ];
    return rules.some(
      (rule) => rule.code === code && names.some((each) => rule.pattern.test(each)),
    );
  };
}

function patternOf(text: string): RegExp {
  const parts = text
    .split("*")
    .map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join(".*")}$`);
}

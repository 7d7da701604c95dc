import type { envoy_config_core_v3_HeaderValueOption } from "../../../xds/index.ts";
import type { OperatorOptions } from "../format-operators.ts";
import { compileHeaderFormat } from "../header-format.ts";
import type { HeaderEdit, HeaderEdits, HeaderMutation } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/** One level of Envoy's header manipulation: a route, a virtual host, a weighted cluster. */
export interface HeaderLevel {
  readonly add: readonly envoy_config_core_v3_HeaderValueOption[] | null | undefined;
  readonly remove?: readonly string[] | null | undefined;
  readonly scope: Scope;
  readonly addField: string;
  readonly removeField: string;
}

/** HeaderValueOption.HeaderAppendAction, by number. */
const ACTIONS = [
  { isOverwrite: false, when: "always" },
  { isOverwrite: false, when: "absent" },
  { isOverwrite: true, when: "always" },
  { isOverwrite: true, when: "present" },
] as const satisfies readonly Partial<HeaderEdit>[];
const APPEND = 0;
const OVERWRITE = 2;

/** Compiles header levels, in the order they are to be applied. Undefined when nothing is asked for. */
export function compileHeaderMutation(
  levels: readonly HeaderLevel[],
  options: OperatorOptions,
): HeaderMutation | undefined {
  const compiled = levels.map((level) => compileLevel(level, options));
  const busy = compiled.filter(({ remove, edits }) => remove.length > 0 || edits.length > 0);
  return busy.length === 0 ? undefined : busy;
}

function compileLevel(level: HeaderLevel, options: OperatorOptions): HeaderEdits {
  const remove = (level.remove ?? []).map((name, i) => {
    checkName(name, level.scope.at(level.removeField, i));
    return name.toLowerCase();
  });
  const edits = (level.add ?? []).flatMap(
    (option, i) => compileOption(option, options, level.scope.at(level.addField, i)) ?? [],
  );
  return {
    remove,
    // As Envoy: all that overwrite, then all that add, each in the order they were written.
    edits: [
      ...edits.filter(({ isOverwrite }) => isOverwrite),
      ...edits.filter(({ isOverwrite }) => !isOverwrite),
    ],
    isPlain: edits.every(({ value, when }) => typeof value === "string" && when === "always"),
  };
}

function compileOption(
  option: envoy_config_core_v3_HeaderValueOption,
  options: OperatorOptions,
  scope: Scope,
): HeaderEdit | undefined {
  const name = option.header?.key ?? "";
  checkName(name, scope.at("header", "key"));
  const valueScope = scope.at("header", "value");
  const text = option.header?.value ?? "";
  if (/[\r\n\0]/.test(text)) valueScope.fail("must not contain line breaks or NUL");
  const value = compileHeaderFormat(text, options, (message) => valueScope.fail(message));
  const keepsEmpty = option.keep_empty_value ?? false;
  if (value === "" && !keepsEmpty) return undefined;
  return { name: name.toLowerCase(), value, ...compileAction(option, scope), keepsEmpty };
}

function compileAction(
  option: envoy_config_core_v3_HeaderValueOption,
  scope: Scope,
): Pick<HeaderEdit, "isOverwrite" | "when"> {
  const action = option.append_action ?? APPEND;
  if (!option.append) return ACTIONS[action] ?? ACTIONS[APPEND];
  if (action !== APPEND) scope.at("append").fail("must not be set together with append_action");
  return ACTIONS[option.append.value ? APPEND : OVERWRITE];
}

function checkName(name: string, scope: Scope): void {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
    scope.fail(`must be a header name (found ${JSON.stringify(name)})`);
  } else if (name.toLowerCase() === "host" || name.startsWith(":")) {
    scope.fail(":-prefixed or host headers may not be modified");
  }
}

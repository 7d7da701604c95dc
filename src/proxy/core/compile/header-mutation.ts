import type { envoy_config_core_v3_HeaderValueOption } from "../../../xds/index.ts";
import type { HeaderMutation } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/** One level of Envoy's header manipulation: a route, a virtual host, a weighted cluster. */
export interface HeaderLevel {
  readonly add: readonly envoy_config_core_v3_HeaderValueOption[] | null | undefined;
  readonly remove?: readonly string[] | null | undefined;
  readonly scope: Scope;
  readonly addField: string;
  readonly removeField: string;
}

const APPEND_IF_EXISTS_OR_ADD = 0;
const OVERWRITE_IF_EXISTS_OR_ADD = 2;

/**
 * Merges header levels, most specific first: Envoy applies them in this order, so that the last
 * (least specific) `set` of a name wins. Undefined when nothing is asked for.
 * Source: Envoy docs, "Custom request/response headers".
 */
export function compileHeaderMutation(levels: readonly HeaderLevel[]): HeaderMutation | undefined {
  const set: (readonly [string, string])[] = [];
  const add: (readonly [string, string])[] = [];
  const remove: string[] = [];
  for (const level of levels) {
    for (const [i, name] of (level.remove ?? []).entries()) {
      checkName(name, level.scope.at(level.removeField, i));
      remove.push(name.toLowerCase());
    }
    for (const [i, option] of (level.add ?? []).entries()) {
      compileOption(option, level.scope.at(level.addField, i), set, add);
    }
  }
  if (set.length === 0 && add.length === 0 && remove.length === 0) return undefined;
  return { set, add, remove };
}

function compileOption(
  option: envoy_config_core_v3_HeaderValueOption,
  scope: Scope,
  set: (readonly [string, string])[],
  add: (readonly [string, string])[],
): void {
  const name = option.header?.key ?? "";
  checkName(name, scope.at("header", "key"));
  const value = literal(option.header?.value ?? "", scope.at("header", "value"));
  const action = option.append_action ?? APPEND_IF_EXISTS_OR_ADD;
  // The deprecated `append: false` means overwrite.
  const isOverwrite =
    action === OVERWRITE_IF_EXISTS_OR_ADD || (option.append && !(option.append.value ?? false));
  if (isOverwrite) set.push([name.toLowerCase(), value]);
  else if (action === APPEND_IF_EXISTS_OR_ADD) add.push([name.toLowerCase(), value]);
  else scope.at("append_action").fail("ADD_IF_ABSENT and OVERWRITE_IF_EXISTS are not supported");
}

function checkName(name: string, scope: Scope): void {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
    scope.fail(`must be a header name (found ${JSON.stringify(name)})`);
  } else if (name.toLowerCase() === "host" || name.startsWith(":")) {
    scope.fail(":-prefixed or host headers may not be modified");
  }
}

/** `%%` is a percent sign; command operators (`%START_TIME%`) are not evaluated. */
function literal(value: string, scope: Scope): string {
  if (/%/.test(value.replaceAll("%%", ""))) {
    scope.fail("command operators are not supported in header values (write %% for %)");
  }
  if (/[\r\n\0]/.test(value)) scope.fail("must not contain line breaks or NUL");
  return value.replaceAll("%%", "%");
}

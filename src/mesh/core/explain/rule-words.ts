import type { AuthorizationRule } from "../../../api/index.ts";

/** What a rule asks for, a phrase for each of its parts; empty = it takes every request. */
export function ruleWords({ from, to, when = [] }: AuthorizationRule): readonly string[] {
  return [
    ...(from === undefined ? [] : [`from ${sourceWords(from)}`]),
    ...(to === undefined ? [] : [`to ${operationWords(to)}`]),
    ...when.map((condition) => `when ${conditionWords(condition)}`),
  ];
}

/** `principals a|b and namespaces c or ipBlocks d` */
export function sourceWords(from: NonNullable<AuthorizationRule["from"]>): string {
  return from.map(({ source }) => fieldsWords(source)).join(" or ");
}

/** `methods GET|HEAD and paths /reviews/*` */
export function operationWords(to: NonNullable<AuthorizationRule["to"]>): string {
  return to.map(({ operation }) => fieldsWords(operation)).join(" or ");
}

/** `request.auth.claims[role] is admin` */
export function conditionWords({
  key,
  values,
  notValues,
}: NonNullable<AuthorizationRule["when"]>[number]): string {
  const parts = [
    ...(values === undefined ? [] : [`is ${values.join("|")}`]),
    ...(notValues === undefined ? [] : [`is not ${notValues.join("|")}`]),
  ];
  return `${key} ${parts.join(" and ")}`;
}

function fieldsWords(fields: object | undefined): string {
  return Object.entries(fields ?? {})
    .filter((entry): entry is [string, readonly string[]] => Array.isArray(entry[1]))
    .map(([name, values]) => `${name} ${values.join("|")}`)
    .join(" and ");
}

import type { Series } from "./series.ts";

/** The Prometheus text format, version 0.0.4: families grouped, one TYPE line each. */
export function prometheusText(series: readonly Series[]): string {
  const families = new Map<string, Series[]>();
  for (const entry of series) {
    const family = families.get(entry.name);
    if (family === undefined) families.set(entry.name, [entry]);
    else family.push(entry);
  }
  const lines: string[] = [];
  for (const [name, members] of families) {
    lines.push(`# TYPE ${name} ${members[0]?.kind ?? "untyped"}`);
    for (const member of members) lines.push(...linesOf(member));
  }
  return `${lines.join("\n")}\n`;
}

function linesOf(series: Series): string[] {
  const labels = Object.entries(series.labels).map(([key, value]) => `${key}="${quote(value)}"`);
  if (series.kind !== "histogram") return [`${series.name}${braces(labels)} ${series.value}`];
  const { histogram, name } = series;
  return [
    ...histogram
      .cumulative()
      .map(
        ({ upperBound, count }) =>
          `${name}_bucket${braces([...labels, `le="${upperBound}"`])} ${count}`,
      ),
    `${name}_bucket${braces([...labels, 'le="+Inf"'])} ${histogram.count}`,
    `${name}_sum${braces(labels)} ${histogram.sum}`,
    `${name}_count${braces(labels)} ${histogram.count}`,
  ];
}

function braces(labels: readonly string[]): string {
  return `{${labels.join(",")}}`;
}

function quote(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

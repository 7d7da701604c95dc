/** Columns are as wide as their widest cell, but at least this, with this much between (as kubectl). */
const MIN_WIDTH = 6;
const PADDING = 3;

/**
 * Rows as left-aligned columns, the way kubectl prints them: one line per row, no trailing spaces,
 * each line ended. `widths` (from `columnWidths`) keeps later tables in line with an earlier one.
 */
export function formatTable(
  rows: readonly (readonly string[])[],
  widths: readonly number[] = columnWidths(rows),
): string {
  return rows
    .map((row) => {
      const cells = row.map((cell, i) => cell.padEnd((widths[i] ?? MIN_WIDTH) + PADDING));
      return `${cells.join("").trimEnd()}\n`;
    })
    .join("");
}

/** How wide each column must be to hold every cell. */
export function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const count = Math.max(0, ...rows.map((row) => row.length));
  return Array.from({ length: count }, (_, i) =>
    Math.max(MIN_WIDTH - PADDING, ...rows.map((row) => row[i]?.length ?? 0)),
  );
}

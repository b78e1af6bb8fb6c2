/** A column: its heading and whether its cells are numbers, which stand on the right. */
export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/** Columns by their headings; those of numbers have a ">" in front. */
export function columnsOf(...titles: readonly string[]): Column[] {
  return titles.map((title) => (title.startsWith(">") ? { title: title.slice(1), right: true } : { title }));
}

/** Lines of text with columns as wide as their widest cell, two spaces apart. */
export function tableOf(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const all = [columns.map(({ title }) => title), ...rows];
  // A loop: a spread of as many arguments as a large model has tensors overflows the stack.
  const widths = columns.map((_, c) => all.reduce((width, row) => Math.max(width, row[c]?.length ?? 0), 0));
  const line = (row: readonly string[]) =>
    columns
      .map(({ right }, c) => (right ? (row[c] ?? "").padStart(widths[c]!) : (row[c] ?? "").padEnd(widths[c]!)))
      .join("  ")
      .trimEnd();
  return `${all.map(line).join("\n")}\n`;
}

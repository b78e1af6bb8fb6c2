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

/** 1234567 as "1.23 MB": three digits, decimal units. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

/** A ratio in dB with one decimal. */
export function formatDecibels(sqnr: number | undefined): string {
  if (sqnr === undefined) return "";
  if (sqnr === Number.POSITIVE_INFINITY) return "exact";
  return `${sqnr.toFixed(1)} dB`;
}

export function formatShape(shape: readonly number[]): string {
  return shape.length === 0 ? "scalar" : shape.join(" x ");
}

/** Four significant digits, as short as they go. */
export function formatNumber(x: number | undefined): string {
  return x === undefined ? "" : String(Number(x.toPrecision(4)));
}

/** Longer names are cut in the middle, where they differ least. */
const LONGEST_NAME = 120;

/** Names come from files: control characters must not reach the terminal, nor names that fill it. */
export function printableName(name: string, longest = LONGEST_NAME): string {
  const text = printable(name);
  if (text.length <= longest) return text;
  const half = Math.floor((longest - 3) / 2);
  return half < 1 ? "" : `${text.slice(0, half)}...${text.slice(-half)}`;
}

/** Text without control characters. */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`);
}

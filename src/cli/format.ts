// How values are written for people: in tables, totals and messages.

/** Longer names are cut in the middle, where they differ least. */
const LONGEST_NAME = 120;

/** 1234567 as "1.23 MB": three digits, decimal units. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = count;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

/** A ratio in dB with one decimal. */
export function decibels(sqnr: number | undefined): string {
  if (sqnr === undefined) return "";
  if (sqnr === Number.POSITIVE_INFINITY) return "exact";
  return `${sqnr.toFixed(1)} dB`;
}

export function shape(dims: readonly number[]): string {
  return dims.length === 0 ? "scalar" : dims.join(" x ");
}

/** Four significant digits, as short as they go. */
export function number(x: number | undefined): string {
  return x === undefined ? "" : String(Number(x.toPrecision(4)));
}

/** Text without control characters. */
export function text(raw: string): string {
  return raw.replace(/\p{C}/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`);
}

/** Names come from files: control characters must not reach the terminal, nor names that fill it. */
export function name(raw: string, longest = LONGEST_NAME): string {
  const shown = text(raw);
  if (shown.length <= longest) return shown;
  const half = Math.floor((longest - 3) / 2);
  return half < 1 ? "" : `${shown.slice(0, half)}...${shown.slice(-half)}`;
}

import type { Verdict } from "./judge.ts";
import type { Row } from "./rows.ts";
import type { Runtime } from "./versions.ts";

// The matrix as docs/runtimes.md has it: a table for each group of rows, and the reasons below.

/** Why outputs of a row do not run; empty where all do, undefined where the runtime is not installed. */
export type Cell = readonly string[] | undefined;

/** Cells by row and column. */
export type Matrix = ReadonlyMap<string, ReadonlyMap<string, Cell>>;

export function matrixOf(rows: readonly Row[], runtimes: readonly Runtime[], verdicts: readonly Verdict[]): Matrix {
  const cellOf = (row: Row, runtime: Runtime): Cell => {
    if (runtime.entry === undefined) return undefined;
    const failed = verdicts.filter(
      (each) => each.made.row === row && each.runtime === runtime && each.error !== undefined,
    );
    return [...new Set(failed.map(({ reason, error }) => reason ?? error!))].sort();
  };
  const cellsOf = (row: Row) => new Map(runtimes.map((runtime) => [runtime.name, cellOf(row, runtime)]));
  return new Map(rows.map((row) => [row.name, cellsOf(row)]));
}

export function render(rows: readonly Row[], matrix: Matrix): string {
  const reasons: string[] = [];
  const numberOf = (reason: string) => {
    if (!reasons.includes(reason)) reasons.push(reason);
    return reasons.indexOf(reason) + 1;
  };
  const textOf = (cell: Cell) => {
    if (cell === undefined) return "-";
    return cell.length === 0 ? "yes" : `no (${cell.map(numberOf).join(", ")})`;
  };
  const groups = [...new Set(rows.map(({ group }) => group))];
  const tables = groups.map((group) => {
    const own = rows.filter((row) => row.group === group).map(({ name }) => [name, matrix.get(name)!] as const);
    const columns = [...own[0]![1].keys()];
    return [
      `### ${group}\n`,
      lineOf(["", ...columns]),
      lineOf(["---", ...columns.map(() => "---")]),
      ...own.map(([name, cells]) => lineOf([name, ...Array.from(cells.values(), textOf)])),
    ].join("\n");
  });
  const notes = reasons.map((reason, i) => `${i + 1}. ${reason}`).join("\n");
  return `${[...tables, `### Why not\n`].join("\n\n")}\n${notes}\n`;
}

function lineOf(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

/** What `render` wrote. */
export function parse(text: string): Matrix {
  const reasons = new Map([...text.matchAll(/^(\d+)\. (.*)$/gm)].map(([, number, reason]) => [number!, reason!]));
  const cellOf = (cell: string): Cell => {
    const numbers = /^no \((.*)\)$/.exec(cell)?.[1];
    if (numbers !== undefined) return numbers.split(", ").map((number) => reasons.get(number) ?? number);
    return cell === "yes" ? [] : undefined;
  };
  const matrix = new Map<string, Map<string, Cell>>();
  let columns: readonly string[] = [];
  for (const line of text.split("\n").filter((each) => each.startsWith("|"))) {
    const [name = "", ...cells] = line.slice(2, -2).split(" | ");
    if (name === "") columns = cells;
    else if (name !== "---") matrix.set(name, new Map(cells.map((cell, i) => [columns[i] ?? "", cellOf(cell)])));
  }
  return matrix;
}

/** In what the documentation differs from what was found, a line each; what is not installed is not looked at. */
export function differences(found: Matrix, documented: Matrix): string[] {
  const lines: string[] = [];
  for (const [name, cells] of found) {
    const other = documented.get(name);
    if (!other) lines.push(`${name}: not in the documentation`);
    for (const [column, cell] of cells) {
      if (!other || cell === undefined) continue;
      const [is, was] = [cell, other.get(column)].map((each) =>
        each?.length === 0 ? "yes" : (each?.join("; ") ?? "-"),
      );
      if (is !== was) lines.push(`${name}, ${column}: ${is}; documented: ${was}`);
    }
  }
  for (const name of documented.keys()) if (!found.has(name)) lines.push(`${name}: documented, but no row`);
  return lines;
}

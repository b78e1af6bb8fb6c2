import { describe, expect, it } from "vitest";
import { surprises, type Verdict } from "./judge.ts";
import { differences, matrixOf, parse, render } from "./matrix.ts";
import type { Made } from "./outputs.ts";
import type { Row } from "./rows.ts";
import type { Runtime } from "./versions.ts";

const rowOf = (name: string, group: string): Row => ({ name, group, ways: [{}], floor: 0 });
const rows = [rowOf("`cast` int8", "Casts"), rowOf("`nbits` 8", "Matrices"), rowOf("`nbits` 4", "Matrices")];
const runtimeOf = (version: string, entry?: string): Runtime => ({
  ...{ name: `node ${version}`, kind: "node", version, entry },
});
const [old, recent, absent] = [runtimeOf("1.20.1", "a.js"), runtimeOf("1.30.0", "b.js"), runtimeOf("1.24.3")];

const verdict = (row: Row, runtime: Runtime, rest: Pick<Verdict, "error" | "reason">): Verdict => {
  const made = { row, base: { name: "small" } } as Made;
  return { made, runtime, ...rest };
};

const fails = { error: "nbits_ == 4 was false", reason: "8-bit MatMulNBits" };
const verdicts = [
  ...rows.flatMap((row) => [verdict(row, recent, {}), verdict(row, recent, {})]),
  ...[
    verdict(rows[0]!, old, {}),
    verdict(rows[1]!, old, {}),
    verdict(rows[1]!, old, fails),
    verdict(rows[2]!, old, {}),
  ],
];

describe("the matrix", () => {
  const matrix = matrixOf(rows, [old, recent, absent], verdicts);

  it("has a cell for each row and runtime, and the reasons below", () => {
    expect(render(rows, matrix)).toBe(
      [
        ...["### Casts", "", "|  | node 1.20.1 | node 1.30.0 | node 1.24.3 |", "| --- | --- | --- | --- |"],
        ...["| `cast` int8 | yes | yes | - |", ""],
        ...["### Matrices", "", "|  | node 1.20.1 | node 1.30.0 | node 1.24.3 |", "| --- | --- | --- | --- |"],
        ...["| `nbits` 8 | no (1) | yes | - |", "| `nbits` 4 | yes | yes | - |", ""],
        ...["### Why not", "", "1. 8-bit MatMulNBits", ""],
      ].join("\n"),
    );
  });

  it("is read back as it was written", () => {
    expect(parse(render(rows, matrix))).toEqual(matrix);
    expect(differences(matrix, parse(render(rows, matrix)))).toEqual([]);
  });

  it("differs from a page that says otherwise, but not where a runtime is not installed", () => {
    const all = [old, recent, runtimeOf("1.24.3", "c.js")];
    const good = verdicts.map((each) => ({ ...each, error: undefined }));
    const documented = parse(
      render(rows.slice(0, 2), matrixOf(rows.slice(0, 2), all, good)).replace("`nbits` 8", "`nbits` 16"),
    );
    expect(differences(matrix, documented)).toEqual([
      "`nbits` 8: not in the documentation",
      "`nbits` 4: not in the documentation",
      "`nbits` 16: documented, but no row",
    ]);
    expect(differences(matrix, matrixOf(rows, all, good))).toEqual([
      "`nbits` 8, node 1.20.1: 8-bit MatMulNBits; documented: yes",
    ]);
  });
});

describe("what is not expected", () => {
  it("are failures that no rule knows, and rules that do not hold", () => {
    const found = [
      ...verdicts,
      verdict(rows[2]!, recent, { error: "12.0 dB, of 25" }),
      verdict(rows[2]!, recent, { error: "12.0 dB, of 25" }),
      verdict(rows[0]!, old, { reason: "casts" }),
    ];
    expect(surprises(found)).toEqual([
      "node 1.30.0: `nbits` 4 of small: 12.0 dB, of 25 (2 x)",
      "node 1.20.1: `cast` int8 of small: runs, which was not expected: casts",
    ]);
  });
});

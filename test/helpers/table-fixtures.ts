import { node, value } from "./onnx-build.ts";
import { tensor } from "./onnx-tensors.ts";
import type { Feeds } from "./sessions.ts";
import {
  across,
  type Beside,
  type Fixture,
  given,
  grid,
  indices,
  list,
  logits,
  modelOf,
  oneRow,
  scalar,
  table,
  type Weight,
} from "./weight-fixtures.ts";

/** A table that Gather looks things up in, and what else uses it. */
export function lookup(
  weight: Weight,
  axis: number | undefined,
  feeds: readonly Feeds[string][],
  { nodes = [], before = [], outputs = [], data = "T", constants = [] }: Partial<Beside> = {},
): Fixture {
  const fed = Object.fromEntries(feeds.map((feed, i) => [`i${i}`, feed]));
  const more = nodes.length + before.length > 0;
  return {
    weights: { T: weight },
    feeds: [{ ...fed, ...(more && { x: given([2, 32]) }) }],
    build: (w, opset) =>
      modelOf(opset, {
        nodes: [
          ...before,
          ...feeds.map((_, i) => node("Gather", `${data} i${i}`, `y${i}`, axis === undefined ? {} : { axis })),
          ...nodes,
        ],
        initializers: [w("T"), ...constants],
        inputs: [
          ...feeds.map(({ dims }, i) => value(`i${i}`, `int64[${dims}]`)),
          ...(more ? [value("x", "float32[2,32]")] : []),
        ],
        outputs: [...feeds.map((_, i) => value(`y${i}`, weight.type ?? "float32")), ...outputs],
      }),
  };
}

export const tables: Readonly<Record<string, Fixture>> = {
  "one row": lookup(table, undefined, [scalar]),
  "some rows": lookup(table, 0, [list]),
  "a grid of rows": lookup(table, -2, [grid]),
  "one column": lookup(across, 1, [scalar]),
  "some columns": lookup(across, -1, [list]),
  "a grid of columns": lookup(across, 1, [grid]),
  "the one row there is": lookup(oneRow, 0, [indices([], [0])]),
  "the one row there is, again and again": lookup(oneRow, 0, [indices([2, 2], [0, -1, 0, 0])]),
  "slices in the middle": lookup({ shape: [6, 40, 8], channel: 1, single: 2, block: 2 }, 1, [list]),
  "a slice in the middle": lookup({ shape: [6, 40, 8], channel: 1, single: 2, block: 2 }, -2, [scalar]),
  "slices of three dimensions": lookup({ shape: [40, 6, 8], channel: 0, single: 2, block: 2 }, 0, [grid]),
  "rows and a row of one table": lookup(table, 0, [grid, scalar]),
  "of float16": lookup({ ...table, type: "float16", stays: ["cast int16"] }, 0, [grid]),
  "through Identity": lookup({ ...table, single: 0 }, 0, [list], { data: "V", before: [node("Identity", "T", "V")] }),
  "and given out as it is": lookup(table, 0, [list], { outputs: [value("T", "float32[48,32]")] }),
  "tied to a MatMul through Transpose": lookup(table, 0, [grid], {
    nodes: [node("Transpose", "T", "Tt", { perm: [1, 0] }), node("MatMul", "x Tt", "z")],
    outputs: logits,
  }),
  "tied to a Gemm": lookup(table, 0, [grid], { nodes: [node("Gemm", "x T", "z", { transB: 1 })], outputs: logits }),
  "tied to a MatMul before it": lookup({ ...table, single: 0 }, 0, [list, scalar], {
    before: [node("Transpose", "T", "Tt", { perm: [1, 0] }), node("MatMul", "x Tt", "z")],
    outputs: logits,
  }),
  "tied to a MatMul along the other axis, before it": lookup(
    { shape: [32, 48], channel: 1, single: 1, block: 0 },
    0,
    [list],
    { before: [node("MatMul", "x T", "z")], outputs: logits },
  ),
  "by rows and by columns": lookup(table, 0, [list], {
    nodes: [node("Gather", "T c", "z", { axis: 1 })],
    constants: [tensor("c", "int64", [2, 2], [0, 31, -32, 5])],
    outputs: logits,
  }),
};

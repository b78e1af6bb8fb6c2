import type { Columns, Rows } from "../abi.ts";

/**
 * Reference kernels work on linear memory through a DataView: any address is aligned enough, and the view is made anew for each
 * call, as growth detaches it.
 */
export type ViewOf = () => DataView;

/** Calls `run` for each run with its first element and its parameter. */
export function eachRun(
  [outer, groups, inner, last, step]: Rows,
  run: (first: number, n: number, parameter: number) => void,
): void {
  let first = 0;
  for (let o = 0; o < outer; o++) {
    for (let g = 0; g < groups; g++) {
      const n = g === groups - 1 ? last : inner;
      run(first, n, o * step + g);
      first += n;
    }
  }
}

/** Calls `element` for each element in turn with its parameter. */
export function eachElement(shape: Rows | Columns, element: (i: number, parameter: number) => void): void {
  const [outer, groups, inner, last, step, columns] = shape;
  if (columns === undefined) {
    eachRun([outer, groups, inner, last, step], (first, n, p) => {
      for (let i = first; i < first + n; i++) element(i, p);
    });
    return;
  }
  let i = 0;
  for (let o = 0; o < outer; o++) {
    for (let g = 0; g < groups; g++) {
      for (let row = g === groups - 1 ? last : inner; row > 0; row--) {
        for (let c = 0; c < columns; c++) element(i++, o * step + g * columns + c);
      }
    }
  }
}

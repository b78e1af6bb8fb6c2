import type { Columns, Kernels, Rows } from "../abi.ts";
import { roundHalfToEven } from "../rounding.ts";
import { eachRun, type ViewOf } from "./groups.ts";

const { fround } = Math;
/** Elements of a run, and rows of a column, whose squares are added in float32. */
const STRETCH = 512;
const ROWS = 16;

/** Reference for assembly/rounding-error.ts. */
export function roundingErrorReference(viewOf: ViewOf): Pick<Kernels, "roundingErrorF32" | "roundingErrorF32Columns"> {
  type Codes = [scales: number, mins: number, zeroPoints: number, lowest: number, highest: number];

  /** The squared error of the value at an address with the parameters of group `p`, in multiples of its scale. */
  function squared(view: DataView, address: number, p: number, [scales, mins, zeroPoints, lowest, highest]: Codes) {
    const scale = view.getFloat32(scales + 4 * p, true);
    const zeroPoint = view.getInt32(zeroPoints + 4 * p, true);
    const shifted = fround(view.getFloat32(address, true) - view.getFloat32(mins + 4 * p, true));
    const place = fround(shifted * fround(1 / scale));
    const rounded = roundHalfToEven(place);
    // As pmax and pmin of the module: NaN passes both.
    const [low, high] = [fround((lowest - zeroPoint) | 0), fround((highest - zeroPoint) | 0)];
    const raised = rounded < low ? low : rounded;
    const code = high < raised ? high : raised;
    const error = fround(place - code);
    const square = fround(error * error);
    return square < Number.POSITIVE_INFINITY ? square : 0;
  }

  function add(view: DataView, out: number, p: number, sum: number): void {
    view.setFloat64(out + 8 * p, view.getFloat64(out + 8 * p, true) + sum, true);
  }

  function roundingErrorF32(src: number, out: number, ...rest: [...Codes, ...Rows]): void {
    const view = viewOf();
    const [codes, shape] = [rest.slice(0, 5) as Codes, rest.slice(5) as Rows];
    eachRun(shape, (first, n, p) => {
      for (let from = 0; from < n; from += STRETCH) {
        const length = Math.min(STRETCH, n - from);
        const even = length - (length % 8);
        const lanes = new Float32Array(8);
        for (let i = 0; i < length; i++) {
          const lane = i < even ? i % 8 : 0;
          lanes[lane] = lanes[lane]! + squared(view, src + 4 * (first + from + i), p, codes);
        }
        const [a, b, c, d] = [0, 1, 2, 3].map((i) => fround(lanes[i]! + lanes[i + 4]!)) as [
          number,
          number,
          number,
          number,
        ];
        add(view, out, p, fround(fround(a + c) + fround(b + d)));
      }
    });
  }

  function roundingErrorF32Columns(src: number, out: number, ...rest: [...Codes, ...Columns]): void {
    const view = viewOf();
    const codes = rest.slice(0, 5) as Codes;
    const [outer, groups, inner, last, step, columns] = rest.slice(5) as Columns;
    let at = src;
    for (let o = 0; o < outer; o++) {
      for (let g = 0; g < groups; g++) {
        const rows = g === groups - 1 ? last : inner;
        for (let c = 0; c < columns; c++) {
          const p = o * step + g * columns + c;
          for (let from = 0; from < rows; from += ROWS) {
            const sums = new Float32Array(2);
            for (let row = from; row < Math.min(from + ROWS, rows); row++) {
              sums[row % 2] = sums[row % 2]! + squared(view, at + 4 * (row * columns + c), p, codes);
            }
            add(view, out, p, fround(sums[0]! + sums[1]!));
          }
        }
        at += 4 * rows * columns;
      }
    }
  }

  return { roundingErrorF32, roundingErrorF32Columns };
}

import type { Kernels } from "../abi.ts";
import { eachElement, eachRun, type ViewOf } from "./groups.ts";

const CHUNK = 65536;

/** The order in which lanes are added: see assembly/error-sums.ts. */
function fold(lanes: Float64Array): number {
  const [a, b, c, d] = lanes as unknown as [number, number, number, number];
  return a + c + (b + d);
}

function add(view: DataView, at: number, value: number): void {
  view.setFloat64(at, view.getFloat64(at, true) + value, true);
}

/** What is summed up: squared error, product, both squares. */
function termsOf(x: number, y: number): readonly number[] {
  return [(x - y) * (x - y), x * y, x * x, y * y];
}

/** Keeps the largest error so far at `at`; NaN is skipped. */
function keepLargest(view: DataView, at: number, error: number): void {
  if (error > view.getFloat64(at, true)) view.setFloat64(at, error, true);
}

/** The sums of a chunk, and its largest error. */
function sumsOf(view: DataView, a: number, b: number, n: number): { sums: readonly number[]; largest: number } {
  const lanes = [0, 1, 2, 3].map(() => new Float64Array(4));
  let largest = 0;
  const terms = (i: number) => {
    const x = view.getFloat32(a + 4 * i, true);
    const y = view.getFloat32(b + 4 * i, true);
    if (Math.abs(x - y) > largest) largest = Math.abs(x - y);
    return termsOf(x, y);
  };
  const whole = n - (n % 4);
  for (let i = 0; i < whole; i++) {
    terms(i).forEach((term, k) => {
      lanes[k]![i % 4]! += term;
    });
  }
  const sums = lanes.map(fold);
  for (let i = whole; i < n; i++) {
    terms(i).forEach((term, k) => {
      sums[k]! += term;
    });
  }
  return { sums, largest };
}

/** Reference for assembly/error-sums.ts. */
export function errorReference(viewOf: ViewOf): Pick<Kernels, "errorF32" | "errorF32Columns" | "lossF32"> {
  return {
    errorF32(a, b, out, count, ...shape) {
      const view = viewOf();
      eachRun(shape, (first, n, p) => {
        const at = (k: number) => out + 8 * (k * count + p);
        for (let from = 0; from < n; from += CHUNK) {
          const start = 4 * (first + from);
          const { sums, largest } = sumsOf(view, a + start, b + start, Math.min(CHUNK, n - from));
          for (const [k, sum] of sums.entries()) add(view, at(k), sum);
          keepLargest(view, at(4), largest);
        }
      });
    },

    lossF32(a, b, out, n) {
      const view = viewOf();
      for (let from = 0; from < n; from += CHUNK) {
        const { sums, largest } = sumsOf(view, a + 4 * from, b + 4 * from, Math.min(CHUNK, n - from));
        add(view, out, sums[0]!);
        add(view, out + 8, sums[2]!);
        keepLargest(view, out + 16, largest);
      }
    },

    errorF32Columns(a, b, out, count, ...shape) {
      const view = viewOf();
      eachElement(shape, (i, p) => {
        const x = view.getFloat32(a + 4 * i, true);
        const y = view.getFloat32(b + 4 * i, true);
        const at = (k: number) => out + 8 * (k * count + p);
        for (const [k, term] of termsOf(x, y).entries()) add(view, at(k), term);
        keepLargest(view, at(4), Math.abs(x - y));
      });
    },
  };
}

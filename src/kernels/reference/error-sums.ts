import type { Columns, Kernels, Rows } from "../abi.ts";
import { eachElement, eachRun, type ViewOf } from "./groups.ts";

const CHUNK = 65536;

/** The order in which lanes are added: see assembly/error-sums.ts. */
function fold(lanes: Float64Array): number {
  const [a, b, c, d] = lanes as unknown as [number, number, number, number];
  return a + c + (b + d);
}

/** Reference for assembly/error-sums.ts. */
export function errorReference(viewOf: ViewOf): Pick<Kernels, "errorF32" | "errorF32Columns" | "lossF32"> {
  const add = (view: DataView, at: number, value: number) => {
    view.setFloat64(at, view.getFloat64(at, true) + value, true);
  };

  /** Adds the five sums of a chunk to those in `into`, `stride` bytes apart. */
  const chunk = (view: DataView, a: number, b: number, into: DataView, n: number, out = 0, stride = 8) => {
    const sums = [0, 1, 2, 3].map(() => new Float64Array(4));
    let largest = 0;
    const terms = (i: number): [number, number, number, number] => {
      const x = view.getFloat32(a + 4 * i, true);
      const y = view.getFloat32(b + 4 * i, true);
      const e = x - y;
      if (Math.abs(e) > largest) largest = Math.abs(e);
      return [e * e, x * y, x * x, y * y];
    };
    const whole = n - (n % 4);
    for (let i = 0; i < whole; i++) {
      terms(i).forEach((term, k) => {
        sums[k]![i % 4]! += term;
      });
    }
    const totals = sums.map(fold);
    for (let i = whole; i < n; i++) {
      terms(i).forEach((term, k) => {
        totals[k]! += term;
      });
    }
    totals.forEach((total, k) => {
      add(into, out + k * stride, total);
    });
    if (largest > into.getFloat64(out + 4 * stride, true)) into.setFloat64(out + 4 * stride, largest, true);
  };

  return {
    errorF32(a: number, b: number, out: number, count: number, ...shape: Rows): void {
      const view = viewOf();
      eachRun(shape, (first, n, p) => {
        for (let from = 0; from < n; from += CHUNK) {
          const at = 4 * (first + from);
          chunk(view, a + at, b + at, view, Math.min(CHUNK, n - from), out + 8 * p, 8 * count);
        }
      });
    },

    lossF32(a, b, out, n) {
      const view = viewOf();
      for (let from = 0; from < n; from += CHUNK) {
        const sums = new DataView(new ArrayBuffer(40));
        const at = 4 * from;
        sums.setFloat64(32, view.getFloat64(out + 16, true), true);
        chunk(view, a + at, b + at, sums, Math.min(CHUNK, n - from));
        add(view, out, sums.getFloat64(0, true));
        add(view, out + 8, sums.getFloat64(16, true));
        view.setFloat64(out + 16, sums.getFloat64(32, true), true);
      }
    },

    errorF32Columns(a: number, b: number, out: number, count: number, ...shape: Columns): void {
      const view = viewOf();
      eachElement(shape, (i, p) => {
        const x = view.getFloat32(a + 4 * i, true);
        const y = view.getFloat32(b + 4 * i, true);
        const e = x - y;
        const at = (k: number) => out + 8 * (k * count + p);
        add(view, at(0), e * e);
        add(view, at(1), x * y);
        add(view, at(2), x * x);
        add(view, at(3), y * y);
        if (Math.abs(e) > view.getFloat64(at(4), true)) view.setFloat64(at(4), Math.abs(e), true);
      });
    },
  };
}

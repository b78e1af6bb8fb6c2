import { errorOf, type Sums } from "../../engine/blockwise/block-sums.ts";
import type { MatrixLayout } from "../../engine/blockwise/quantize-matrix.ts";
import { gainOf } from "../../engine/measure/quantization-error.ts";
import type { Loss } from "../../pipeline/model-report.ts";
import { roomFor, type StoredTensor } from "../../pipeline/stored-tensor.ts";
import { type Section, type Stretch, wholeOf } from "./codec.ts";

// Matrices that are cut by rows of [N, K], whichever way they lie: rows of [N, K], columns of [K, N].

interface MatrixSpec {
  readonly quantization: { readonly layout: MatrixLayout };
}

/** Sections of more bytes are not worth their memory: workers share them. */
const MOST_BYTES = 1 << 26;

/** The matrix' sides: rows that are cut, and what is summed over. */
function sidesOf({ shape }: Pick<StoredTensor, "shape">, { quantization }: MatrixSpec): [n: number, k: number] {
  const [first, second] = shape as [number, number];
  return quantization.layout === "NK" ? [first, second] : [second, first];
}

export function wholeMatrix(tensor: StoredTensor, spec: MatrixSpec): Section {
  return wholeOf(tensor, 0, sidesOf(tensor, spec)[0]);
}

/** Rows, as many to a stretch as `share` bytes hold, at multiples of `grain`, where sums and blocks begin anew. */
export function rowStretches(tensor: StoredTensor, spec: MatrixSpec, grain: number, share: number): Stretch[] {
  const [n, k] = sidesOf(tensor, spec);
  const perRow = Math.max((roomFor(tensor, n * k) - roomFor(tensor, 0)) / n, 1);
  const rows = Math.max(Math.floor(Math.min(share, MOST_BYTES) / perRow / grain), 1) * grain;
  const isColumns = spec.quantization.layout === "KN";
  return Array.from({ length: Math.ceil(n / rows) }, (_, i) => {
    const first = i * rows;
    const count = Math.min(rows, n - first);
    const shape = isColumns ? [k, count] : [count, k];
    return { sections: [{ start: isColumns ? first : first * k, length: count * k, shape, first, count, isColumns }] };
  });
}

/** What a matrix lost, from the sums of its rows. */
export function lossOfRows(sums: readonly (readonly Sums[])[], { shape }: Pick<StoredTensor, "shape">): Loss {
  const all = sums.flat();
  const { sqnr, maxAbs } = errorOf(all, shape[0]! * shape[1]!);
  const squared = all.reduce((sum, each) => sum + each.squared, 0);
  const extremesError = all.reduce((sum, each) => sum + (each.extremesError ?? each.squared), 0);
  const isChosen = all.some((each) => each.extremesError !== undefined);
  return { sqnr, maxAbs, ...(isChosen && { rangeGain: gainOf(squared, extremesError) }) };
}

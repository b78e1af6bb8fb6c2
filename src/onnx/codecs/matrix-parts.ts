import { errorOf, SUMMED_ROWS, type Sums } from "../../engine/blockwise/block-sums.ts";
import { bnb4Rows } from "../../engine/blockwise/quantize-bnb4.ts";
import type { Engine } from "../../engine/engine.ts";
import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import type { ResidentTensor } from "../../engine/tensors/resident-tensor.ts";
import { bytesOf, type FloatTensor } from "../../engine/tensors/tensor.ts";
import { NonFiniteError } from "../../errors.ts";
import { BufferPool } from "../../pipeline/buffer-pool.ts";
import { readColumns } from "../../pipeline/read-columns.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "../../pipeline/stored-tensor.ts";
import type { FileSpan, Files, Work } from "../../pipeline/work.ts";
import type { Bnb4Spec } from "./bnb4-codec.ts";
import { type OrderedPart, writeInto } from "./codec-order.ts";
import { matrixBytes, type NbitsSpec } from "./nbits-codec.ts";

type Spec = NbitsSpec | Bnb4Spec;

/** Rows `first` to `first + count` of [N, K], of a matrix too large to be held. */
export interface MatrixPartUnit {
  readonly tensor: StoredTensor;
  readonly spec: Spec;
  readonly parts: readonly OrderedPart[];
  readonly first: number;
  readonly count: number;
  readonly nonFinite: NonFinite;
}

/** The matrix' sides: rows that are cut, and what is summed over. */
export function sidesOf({ shape }: StoredTensor, { quantization: { layout } }: Spec): [n: number, k: number] {
  const [first, second] = shape as [number, number];
  return layout === "NK" ? [first, second] : [second, first];
}

/** Rows to a part: as many as `share` bytes hold, at multiples where sums and blocks begin anew. */
export function rowsPerPart(tensor: StoredTensor, spec: Spec, share: number): number {
  const [n, k] = sidesOf(tensor, spec);
  const grain = spec.kind === "bnb4" ? bnb4Rows(k, spec.quantization.blockSize) : SUMMED_ROWS;
  const perRow = Math.max((roomFor(tensor, n * k) - roomFor(tensor, 0)) / n, 1);
  return Math.max(Math.floor(share / perRow / grain), 1) * grain;
}

/** What errors there are in all, from the sums of parts. */
export function lossOfParts(
  parts: readonly (readonly Sums[])[],
  { shape }: StoredTensor,
): { sqnr: number; maxAbs: number } {
  const { sqnr, maxAbs } = errorOf(parts.flat(), shape[0]! * shape[1]!);
  return { sqnr, maxAbs };
}

export const matrixPartsWork: Work<MatrixPartUnit, readonly Sums[]> = {
  name: "matrix parts",
  reads: spansOf,
  room: ({ tensor, spec, count }) => roomFor(tensor, count * sidesOf(tensor, spec)[1]),
  async run(engine, files, unit) {
    const { tensor, spec, first, count } = unit;
    const [n, k] = sidesOf(tensor, spec);
    const make = (values: FloatTensor | ResidentTensor) =>
      inWhole(unit, n, k, () => writePart(engine, files, unit, values));
    if (spec.quantization.layout === "KN") return readColumns(engine, files, tensor, { first, count }, make);
    return withPart(engine, files, tensor, { start: first * k, length: count * k, shape: [count, k] }, make);
  },
};

function spansOf({ tensor, spec, first, count }: MatrixPartUnit): FileSpan[] {
  const [n, k] = sidesOf(tensor, spec);
  if (spec.quantization.layout === "NK") return [spanOf(tensor, { start: first * k, length: count * k })];
  return Array.from({ length: k }, (_, row) => spanOf(tensor, { start: row * n + first, length: count }));
}

async function writePart(
  engine: Engine,
  files: Files,
  { spec, parts, first, count, tensor, nonFinite }: MatrixPartUnit,
  values: FloatTensor | ResidentTensor,
): Promise<readonly Sums[]> {
  const [, k] = sidesOf(tensor, spec);
  if (spec.kind === "bnb4") {
    const { quantization: recipe, scaleDtype } = spec;
    const firstBlock = (first * k) / recipe.blockSize;
    const { codes, absmax, sums } = engine.quantizeBnb4(values, { ...recipe, scaleDtype, firstBlock });
    await writeInto(files, parts[0]!, (first * k) / 2, codes);
    await writeInto(files, parts[1]!, firstBlock * absmax.BYTES_PER_ELEMENT, bytesOf(absmax));
    return sums;
  }
  const { bytes, strides, sums } = matrixBytes(engine, values, spec, {
    n: count,
    firstRow: first,
    nonFinite,
    buffers: new BufferPool(),
  });
  await Promise.all(bytes.map((each, i) => writeInto(files, parts[i]!, first * strides[i]!, each)));
  return sums;
}

/** An index within some rows is one within the matrix to whoever reads of it. */
async function inWhole<T>(
  { spec, first, count }: MatrixPartUnit,
  n: number,
  k: number,
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof NonFiniteError)) throw error;
    const { value, index, tensor } = error;
    const place =
      spec.quantization.layout === "NK" ? first * k + index : Math.floor(index / count) * n + first + (index % count);
    throw new NonFiniteError(value, place, tensor);
  }
}

import { elementsOf } from "../../../engine/tensors/shape.ts";
import { readExactly } from "../../../formats/byte-source.ts";
import { viewOf } from "../../../formats/float-types.ts";
import { storedTensorOf } from "../../io/load-tensor.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import { type Rows, strideOf } from "./scaled-rows.ts";

/** What is to be known of a weight to tell what its codes will lose. */
export interface RowStatistics {
  /** The sum of squares of each row. */
  readonly squares: Float64Array;
  /** For each group of rows the largest absolute value in each column. */
  readonly largest: ReadonlyMap<number, Float32Array>;
}

/** Elements that are read at a time. */
const STRETCH = 1 << 20;

/**
 * Reads a float32 weight once.
 *
 * @param groups the group of each row: rows of one group will be multiplied with the same factor
 */
export async function readRows(
  files: TensorFiles,
  name: string,
  rows: Rows,
  groups: readonly number[],
): Promise<RowStatistics> {
  const { source, stored } = storedTensorOf(files, name, rows.tensor);
  const { inner, rows: count } = strideOf(rows);
  const elements = elementsOf(rows.tensor.shape);
  const squares = new Float64Array(count);
  const largest = new Map(groups.map((group) => [group, new Float32Array(elements / count)]));
  const ofRow = groups.map((group) => largest.get(group)!);
  for (let start = 0; start < elements; start += STRETCH) {
    const end = Math.min(start + STRETCH, elements);
    const bytes = await readExactly(source, stored.start + 4 * start, stored.start + 4 * end, name);
    const values = viewOf(Float32Array, bytes);
    for (let at = start; at < end; ) {
      // A stretch of one row, its columns beside each other.
      const block = Math.floor(at / inner);
      const stop = Math.min((block + 1) * inner, end);
      const row = block % count;
      const maxima = ofRow[row]!;
      let column = Math.floor(block / count) * inner + (at % inner);
      let sum = 0;
      for (; at < stop; at++, column++) {
        const value = values[at - start]!;
        sum += value * value;
        const size = Math.abs(value);
        if (size > maxima[column]!) maxima[column] = size;
      }
      squares[row]! += sum;
    }
  }
  return { squares, largest };
}

import { elementsOf } from "../../../engine/tensors/shape.ts";
import { bytesOf } from "../../../engine/tensors/tensor.ts";
import type { ByteSource } from "../../../formats/byte-source.ts";
import { readExactly } from "../../../formats/byte-source.ts";
import { viewOf } from "../../../formats/float-types.ts";
import { storedTensorOf } from "../../io/load-tensor.ts";
import { bytesOfTensor, isOutside, type TensorFiles } from "../../io/tensor-data.ts";
import type { Tensor } from "../../ir/graph.ts";

/** The rows of a weight: places along the axis that a product sums over. */
export interface Rows {
  readonly tensor: Tensor;
  readonly axis: number;
}

/** How the elements of a weight lie about its rows. */
export function strideOf({ tensor: { shape }, axis }: Rows): { readonly inner: number; readonly rows: number } {
  return { inner: elementsOf(shape.slice(axis + 1)), rows: shape[axis]! };
}

const WIDTH = 4;

/**
 * A float32 weight whose rows are multiplied with factors. Nothing is computed before it is read, and then no more than
 * is asked for: a product of two float32 numbers each, rounded once.
 */
export function scaledRows(files: TensorFiles, name: string, rows: Rows, factors: Float32Array): Tensor {
  const { tensor } = rows;
  const { source, stored } = storedTensorOf(files, name, tensor);
  const byteLength = bytesOfTensor(tensor);
  const { inner } = strideOf(rows);
  const scaled: ByteSource = {
    name: source.name,
    byteLength,
    async slice(start, end) {
      const first = Math.floor(start / WIDTH);
      const last = Math.ceil(end / WIDTH);
      const bytes = await readExactly(source, stored.start + first * WIDTH, stored.start + last * WIDTH, name);
      const values = viewOf(Float32Array, bytes);
      const products = new Float32Array(values.length);
      let row = Math.floor(first / inner) % factors.length;
      let column = first % inner;
      for (let i = 0; i < products.length; i++) {
        products[i] = values[i]! * factors[row]!;
        if (++column < inner) continue;
        column = 0;
        row = row + 1 === factors.length ? 0 : row + 1;
      }
      return bytesOf(products).subarray(start - first * WIDTH, end - first * WIDTH);
    },
  };
  const data = { kind: "span", source: scaled, start: 0, end: byteLength, isOutside: isOutside(tensor) } as const;
  return { ...tensor, data, message: undefined };
}

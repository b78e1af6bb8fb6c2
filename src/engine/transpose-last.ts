import type { KernelContext } from "./tensors/context.ts";
import { withScratch } from "./tiling/scratch.ts";

/**
 * Bytes of `[..., rows, columns]` as `[..., columns, rows]`, in memory of their own. They may lie in linear memory.
 *
 * @throws MemoryError
 */
export function transposeLast(context: KernelContext, bytes: Uint8Array, shape: readonly number[]): Uint8Array {
  const { memory, kernels } = context;
  const [rows = 1, columns = 1] = shape.slice(-2);
  const matrix = rows * columns;
  const { length } = bytes; // room for the kernel may be memory that grows and leaves the view empty
  const swapped = new Uint8Array(length);
  if (matrix === 0) return swapped;
  const home = bytes.buffer === memory.memory.buffer ? bytes.byteOffset : undefined;
  withScratch(context, [home === undefined ? matrix : 0, matrix], ([from, to]) => {
    for (let start = 0; start < length; start += matrix) {
      if (home === undefined) memory.view(Uint8Array, from!, matrix).set(bytes.subarray(start, start + matrix));
      kernels.transposeBytes(home === undefined ? from! : home + start, to!, columns, rows);
      swapped.set(memory.view(Uint8Array, to!, matrix), start);
    }
  });
  return swapped;
}

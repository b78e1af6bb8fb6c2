import type { Engine } from "../engine/engine.ts";
import { bytesOf } from "../engine/tensors/tensor.ts";
import { readExactly } from "../formats/byte-source.ts";
import { floatTensorOf } from "../formats/float-types.ts";
import { fill, type OpenPart, residentTypeOf, type StoredTensor, spanOf, widthOf } from "./stored-tensor.ts";
import type { Files } from "./work.ts";

/**
 * Reads columns `first` to `first + count` of a matrix [K, N], a piece of each row.
 *
 * @throws FormatError when there is less than there should be
 */
export async function openColumns(
  engine: Engine,
  files: Files,
  tensor: StoredTensor,
  { first, count }: { readonly first: number; readonly count: number },
): Promise<OpenPart> {
  const source = files.sources[tensor.file]!;
  const { name, dtype } = tensor;
  const [k, n] = tensor.shape as [number, number];
  const shape = [k, count];
  const bytes = widthOf(tensor) * count;
  const rowAt = (row: number) => spanOf(tensor, { start: row * n + first, length: count });
  const type = residentTypeOf(tensor);
  if (!source.read || type === undefined) {
    const panel = new Uint8Array(k * bytes);
    for (let row = 0; row < k; row++) {
      const { start, end } = rowAt(row);
      panel.set(await readExactly(source, start, end, name), row * bytes);
    }
    return { values: floatTensorOf(source.name, panel, { name, dtype, shape }), close() {} };
  }
  const values = engine.reserve(type, shape);
  values.name = name;
  try {
    const into = bytesOf(values.data);
    for (let row = 0; row < k; row++)
      await fill(source, rowAt(row), into.subarray(row * bytes, (row + 1) * bytes), name);
  } catch (error) {
    values.dispose();
    throw error;
  }
  return { values, close: () => values.dispose() };
}

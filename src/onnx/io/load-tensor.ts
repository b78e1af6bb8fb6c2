import type { FloatTensor } from "../../engine/tensors/tensor.ts";
import type { ByteSource } from "../../formats/byte-source.ts";
import { floatTensorOf, type SafetensorsFloat, safetensorsFloats } from "../../formats/float-types.ts";
import type { StoredTensor } from "../../pipeline/stored-tensor.ts";
import type { Tensor } from "../ir/graph.ts";
import { bytesOfTensor, type TensorFiles } from "./tensor-data.ts";

/** A constant as it lies in its file; what is not in one piece there as a source of its own. */
export function storedTensorOf(
  files: TensorFiles,
  name: string,
  tensor: Tensor,
): { readonly source: ByteSource; readonly stored: StoredTensor } {
  const place = files.placeOf(tensor);
  const stored = { name, dtype: floatOf(tensor), shape: tensor.shape, file: 0, start: place?.start ?? 0 };
  if (place) return { source: place.source, stored };
  // Decoded once, however many parts of it are asked for.
  let bytes: Promise<Uint8Array> | undefined;
  const slice = async (start: number, end: number) => {
    bytes ??= files.read(tensor);
    return (await bytes).subarray(start, end);
  };
  return { source: { name: files.source.name, byteLength: bytesOfTensor(tensor), slice }, stored };
}

/** Loads a float tensor of a model into an array. */
export async function loadTensor(
  files: TensorFiles,
  { name, tensor }: { readonly name: string; readonly tensor: Tensor },
): Promise<FloatTensor> {
  const { shape } = tensor;
  return floatTensorOf(files.source.name, await files.read(tensor), { name, dtype: floatOf(tensor), shape });
}

/** The type of a float tensor, by the name that files of tensors have for it. */
function floatOf({ type }: Tensor): SafetensorsFloat {
  return safetensorsFloats[type as keyof typeof safetensorsFloats];
}

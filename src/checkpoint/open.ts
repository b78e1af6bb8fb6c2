import { FormatError } from "../errors.ts";
import { detectFormat, type FormatName } from "../formats/detect.ts";
import { safetensorsNames } from "../formats/floats.ts";
import { readNpyHeader } from "../formats/npy.ts";
import { readSafetensorsHeader, type SafetensorsTensor } from "../formats/safetensors.ts";
import type { ByteSource } from "../formats/source.ts";

/** A file of tensors: what is in it, whatever its format. */
export interface Checkpoint {
  readonly format: FormatName;
  readonly metadata: Readonly<Record<string, string>>;
  /** In the file's order, each with the place of its bytes. */
  readonly tensors: readonly SafetensorsTensor[];
}

/**
 * Reads the header of a safetensors or .npy file. A .npy file holds one tensor, which goes by the file's name.
 *
 * @throws FormatError
 */
export async function openCheckpoint(source: ByteSource): Promise<Checkpoint> {
  const format = await detectFormat(source);
  if (format === "onnx")
    throw new FormatError(source.name, "is an ONNX model by name or content; a file of tensors is wanted");
  if (format === "safetensors") return { format, ...(await readSafetensorsHeader(source)) };
  const { descr, shape, start } = await readNpyHeader(source);
  const name = source.name.replace(/^.*[/\\]/, "").replace(/\.npy$/i, "");
  const tensor = { name, dtype: safetensorsNames[descr], shape, start, end: source.byteLength };
  return { format, metadata: {}, tensors: [tensor] };
}

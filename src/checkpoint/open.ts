import { FormatError } from "../errors.ts";
import { detectFormat, type FormatName } from "../formats/detect.ts";
import { safetensorsNames } from "../formats/floats.ts";
import { readNpyHeader } from "../formats/npy.ts";
import { readSafetensorsHeader, type SafetensorsTensor } from "../formats/safetensors.ts";
import type { ByteSource } from "../formats/source.ts";

/** A tensor, and which of the checkpoint's files it is in. */
export interface CheckpointTensor extends SafetensorsTensor {
  readonly file: number;
}

/** One file of a checkpoint. */
export interface CheckpointFile {
  readonly source: ByteSource;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Files of tensors: what is in them, whatever their format. */
export interface Checkpoint {
  readonly format: FormatName;
  readonly files: readonly CheckpointFile[];
  /** In the order of the files, each with the place of its bytes. */
  readonly tensors: readonly CheckpointTensor[];
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
  if (format === "safetensors") {
    const { metadata, tensors } = await readSafetensorsHeader(source);
    return { format, files: [{ source, metadata }], tensors: tensors.map((tensor) => ({ ...tensor, file: 0 })) };
  }
  const { descr, shape, start } = await readNpyHeader(source);
  const name = source.name.replace(/^.*[/\\]/, "").replace(/\.npy$/i, "");
  const tensor = { name, dtype: safetensorsNames[descr], shape, start, end: source.byteLength, file: 0 };
  return { format, files: [{ source, metadata: {} }], tensors: [tensor] };
}

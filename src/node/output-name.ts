/** How files that are written are named, for those who name them by paths. */
import { ArgumentError } from "../errors.ts";
import { isShardIndex } from "../formats/detect-file-type.ts";
import { shardIndexName } from "../formats/shards.ts";

/** What the name of an output ends with: a model's with .onnx, that of tensors as its input does, shards for shards. */
export function extensionOf(input: string, isModel: boolean): string {
  if (isModel) return ".onnx";
  return isShardIndex(input) ? shardIndexName("") : ".safetensors";
}

/** @throws ArgumentError for a file that is called otherwise */
export function checkExtension(output: string, extension: string): void {
  if (typeof output === "string" && output.toLowerCase().endsWith(extension)) return;
  throw new ArgumentError("output", `expected the name of a ${extension} file; got ${String(output)}`);
}

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { ArgumentError, FileError } from "../errors.ts";
import { detectFileType } from "../formats/detect-file-type.ts";
import { isVariant } from "../onnx/transformers-js.ts";
import { stemOf } from "./paths.ts";
import { withSource } from "./run-task.ts";

/** A model by itself; in a folder, or in its folder `onnx`, those that are not a variant of another. */
export async function modelsIn(input: string): Promise<string[]> {
  const info = await stat(input).catch(() => undefined);
  if (!info?.isDirectory()) {
    if ((await withSource(input, detectFileType)) === "onnx") return [input];
    throw new ArgumentError("recipe", "is for ONNX models; this is a file of tensors");
  }
  for (const folder of [input, join(input, "onnx")]) {
    const names = await readdir(folder).catch(() => []);
    const sessions = names.filter((name) => name.toLowerCase().endsWith(".onnx") && !isMade(stemOf(name))).sort();
    if (sessions.length === 0) continue;
    const twice = sessions.find((name, i) => sessions.findIndex((other) => stemOf(other) === stemOf(name)) < i);
    if (twice !== undefined) {
      throw new FileError(
        join(folder, twice),
        "would be written to the same files as another model, having the same name; rename it",
      );
    }
    return sessions.map((name) => join(folder, name));
  }
  throw new FileError(input, "is a folder without .onnx models, and has none in a folder onnx");
}

/** Whether a file by that name was made from another, by this recipe or by the command without. */
function isMade(stem: string): boolean {
  return isVariant(stem) || /\.((dynamic-)?u?int(4|8|16)|nbits\d|b?float16)$/.test(stem);
}

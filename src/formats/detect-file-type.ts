import { FormatError } from "../errors.ts";
import type { ByteSource } from "./byte-source.ts";
import { hasNpyMagic } from "./npy.ts";

/** The formats tensors are read from. */
export type TensorFileType = "safetensors" | "npy" | "npz";

/** The formats of files: of tensors, and of models. */
export type FileType = TensorFileType | "onnx";

const titles: Readonly<Record<FileType, string>> = {
  safetensors: "a safetensors file",
  npy: "a NumPy .npy file",
  npz: "a NumPy .npz file",
  onnx: "an ONNX model",
};

const promises = new Map<string, FileType>([
  ["safetensors", "safetensors"],
  ["npy", "npy"],
  ["npz", "npz"],
  ["onnx", "onnx"],
]);

/** Files people have at hand that cannot be read, by how they start; and what to do about it. */
const strangers: readonly (readonly [start: string, what: string])[] = [
  ["PK\x03\x04", "a zip archive (.pt); save its tensors with safetensors.torch.save_file"],
  ["\x80\x02", "a Python pickle (.pt, .bin); save it with safetensors.torch.save_file"],
  ["\x80\x04", "a Python pickle (.pt, .bin); save it with safetensors.torch.save_file"],
  ["\x89HDF", "an HDF5 file (.h5); save its weights as safetensors"],
  ["GGUF", "a GGUF file; take the float checkpoint it was made from"],
  ["TFL3", "a TensorFlow Lite model; take the ONNX model it was made from"],
  ["<", "a web page or other markup; what was downloaded is not the file"],
  ["\x1f\x8b", "a gzip archive; unpack it first"],
  ["version https://git-lfs", "a Git LFS pointer, not the file itself; run git lfs pull"],
  ["ORTM", "a model in ONNX Runtime's own format; take the ONNX model it was made from"],
];

/** Enough for the name of a zip's first member. */
const LONGEST_START = 256;

/** Whether a file is an index of shards, by its name: `model.safetensors.index.json`, `model.safetensors.index.fp16.json`. */
export function isShardIndex(name: string): boolean {
  return /\.safetensors\.index(\.[\w-]+)?\.json$/i.test(name);
}

/**
 * Tells a file's format by its first bytes, and holds it against what its name promises. An index of shards, told by its
 * name, is of the format of its shards.
 *
 * @throws FormatError when it is of another format than its name says, or of none that can be read.
 */
export async function detectFileType(source: ByteSource): Promise<FileType> {
  if (isShardIndex(source.name)) return "safetensors";
  const extension = /\.(\w+)$/.exec(source.name)?.[1]?.toLowerCase();
  const head = await source.slice(0, Math.min(LONGEST_START, source.byteLength));
  const promised = promises.get(extension ?? "");
  const found = formatOf(head) ?? (promised === "npz" && startsWith(head, "PK") ? "npz" : undefined);
  if (found !== undefined && (promised === undefined || promised === found)) return found;

  if (found !== undefined) throw new FormatError(source.name, `is ${titles[found]}, not what its name says`);
  const stranger = strangers.find(([start]) => startsWith(head, start))?.[1];
  if (stranger !== undefined) throw new FormatError(source.name, `is ${stranger}`);
  if (promised !== undefined) return promised; // damaged: the reader says how
  throw new FormatError(source.name, "neither an ONNX model nor a safetensors, .npy or .npz file");
}

/**
 * A safetensors header begins with "{" after 8 bytes of length, the upper of which are 0; a model as good as always with
 * its IR version: field 1, a small number, and then another field of length or number.
 */
function formatOf(head: Uint8Array): FileType | undefined {
  if (hasNpyMagic(head)) return "npy";
  if (startsWith(head, "PK\x03\x04") && /\.npy$/.test(firstMember(head))) return "npz";
  if (head[8] === 0x7b && head[6] === 0 && head[7] === 0) return "safetensors";
  const [tag = 0, version = 0, next = 0] = head;
  return tag === 0x08 && version > 0 && version < 32 && [0, 2].includes(next & 7) ? "onnx" : undefined;
}

/** The name of a zip's first member, as far as it is there. */
function firstMember(head: Uint8Array): string {
  const length = (head[26] ?? 0) + 256 * (head[27] ?? 0);
  return String.fromCharCode(...head.subarray(30, 30 + length));
}

function startsWith(head: Uint8Array, start: string): boolean {
  return Array.from(start, (c) => c.charCodeAt(0)).every((code, i) => head[i] === code);
}

import { FormatError } from "../../errors.ts";
import type { ByteSource } from "../../formats/byte-source.ts";
import { detectFileType, isShardIndex, type TensorFileType } from "../../formats/detect-file-type.ts";
import { safetensorsNames } from "../../formats/float-types.ts";
import { readNpyHeader } from "../../formats/npy.ts";
import { openNpzMembers } from "../../formats/npz.ts";
import { readSafetensorsHeader, type SafetensorsTensor } from "../../formats/safetensors.ts";
import { openShards, readShardIndex, type ShardIndex } from "../../formats/shards.ts";

/** A tensor, and which of the checkpoint's files it is in. */
export interface CheckpointTensor extends SafetensorsTensor {
  readonly file: number;
}

/** Bytes with tensors in them: a file, or a deflated member of one. */
export interface CheckpointFile {
  readonly source: ByteSource;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Files of tensors: what is in them, whatever type of file they are. */
export interface Checkpoint {
  /** As errors call it: its file, or the index of several. */
  readonly name: string;
  readonly fileType: TensorFileType;
  /** Of all files together, the index among them. */
  readonly byteLength: number;
  /** Tells the file that was named from others, where that can be told. */
  readonly identity: string | undefined;
  readonly files: readonly CheckpointFile[];
  /** In the order of the files, each with the place of its bytes. */
  readonly tensors: readonly CheckpointTensor[];
  /** Where it is in several files: each becomes a file of the output. */
  readonly index?: ShardIndex | undefined;
  /** Another file beside it. */
  readonly sibling: ByteSource["sibling"];
}

type Contents = Pick<Checkpoint, "files" | "tensors" | "index"> & { readonly byteLength?: number };

/**
 * Reads the headers of a safetensors, .npy or .npz file, or of the shards an index names; closes the shards after `use`.
 * A .npy file holds one tensor, which goes by the file's name.
 *
 * @throws FormatError
 */
export async function withCheckpoint<T>(source: ByteSource, use: (checkpoint: Checkpoint) => Promise<T>): Promise<T> {
  const fileType = await detectFileType(source);
  const { name, byteLength, identity } = source;
  if (fileType === "onnx") {
    throw new FormatError(name, "is an ONNX model by name or content; a file of tensors is wanted");
  }
  const sibling = source.sibling && ((path: string) => source.sibling!(path));
  const common = { name, fileType, byteLength, identity, sibling };
  if (!isShardIndex(name)) return use({ ...common, ...(await readers[fileType](source)) });
  const index = await readShardIndex(source);
  const { shards, close } = await openShards(source, index);
  try {
    const tensors = shards.flatMap((shard, file) => shard.tensors.map((tensor) => ({ ...tensor, file })));
    const size = shards.reduce((sum, shard) => sum + shard.source.byteLength, byteLength);
    return await use({ ...common, byteLength: size, files: shards, tensors, index });
  } finally {
    await close();
  }
}

const readers: Readonly<Record<TensorFileType, (source: ByteSource) => Promise<Contents>>> = {
  async safetensors(source) {
    const { metadata, tensors } = await readSafetensorsHeader(source);
    return { files: [{ source, metadata }], tensors: tensors.map((tensor) => ({ ...tensor, file: 0 })) };
  },
  async npy(source) {
    const { descr, shape, start } = await readNpyHeader(source);
    const name = source.name.replace(/^.*[/\\]/, "").replace(/\.npy$/i, "");
    const tensor = { name, dtype: safetensorsNames[descr], shape, start, end: source.byteLength, file: 0 };
    return { files: [{ source, metadata: {} }], tensors: [tensor] };
  },
  async npz(source) {
    const sources = [source];
    const tensors = (await openNpzMembers(source)).map((member): CheckpointTensor => {
      const { name, descr, shape, start, end } = member;
      const file = member.source === source ? 0 : sources.push(member.source) - 1;
      return { name, dtype: safetensorsNames[descr], shape, start, end, file };
    });
    return { files: sources.map((each) => ({ source: each, metadata: {} })), tensors };
  },
};

/** Which file of the output a tensor goes to: one for each shard, else there is one. */
export function outputOf({ index }: Checkpoint, { file }: CheckpointTensor): number {
  return index ? file : 0;
}

/** Metadata of each file of the output. */
export function metadataOf({ files, index }: Checkpoint): Readonly<Record<string, string>>[] {
  return (index ? files : files.slice(0, 1)).map(({ metadata }) => metadata);
}

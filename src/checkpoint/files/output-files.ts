import { ArgumentError, FormatError } from "../../errors.ts";
import type { ByteSink, CompanionSink } from "../../formats/byte-source.ts";
import { isShardIndex } from "../../formats/detect-file-type.ts";
import type { SafetensorsPlan } from "../../formats/safetensors.ts";
import { encodeShardIndex, shardName } from "../../formats/shards.ts";
import type { Checkpoint } from "./open-checkpoint.ts";

/** A file of the output. */
export type Output = Pick<ByteSink, "write" | "handle">;

/**
 * The files to write to: the sink itself, or where the checkpoint is in shards as many beside it, named after it.
 *
 * @throws ArgumentError, FormatError when an input would be lost
 */
export async function openOutputs(checkpoint: Checkpoint, sink: ByteSink): Promise<readonly Output[]> {
  if (!checkpoint.index) return [sink];
  const { length } = checkpoint.files;
  const outputs: Output[] = [];
  for (let i = 0; i < length; i++)
    outputs.push(await besides(checkpoint, sink, shardName(stemOf(sink), i + 1, length)));
  return outputs;
}

/**
 * A file beside the output.
 *
 * @throws ArgumentError where the sink has none, FormatError when an input would be lost, what the sink throws
 */
export async function besides(checkpoint: Checkpoint, sink: ByteSink, name: string): Promise<CompanionSink> {
  if (!sink.sibling) throw new ArgumentError("sink", `${name} is to be written beside it, and it has no sibling`);
  const output = await sink.sibling(name);
  const { replaces } = output;
  // In place of the input itself its shards may go, too.
  if (replaces === undefined || sink.replaces === checkpoint.identity) return output;
  const lost = checkpoint.files.find(({ source }) => source.identity === replaces);
  if (lost) throw new FormatError(lost.source.name, "would be replaced, and is read from; write to another folder");
  return output;
}

/** What names of files beside the output begin with: `model.int8` for `model.int8.safetensors.index.json`. */
export function stemOf({ name = "model" }: ByteSink): string {
  return name.replace(isShardIndex(name) ? /\.safetensors\.index(\.[\w-]+)?\.json$/i : /\.\w+$/, "");
}

/** Writes the index of shards, where there is one; how many bytes it takes. */
export async function writeIndex(
  checkpoint: Checkpoint,
  sink: ByteSink,
  tensors: readonly (readonly string[])[],
  totalSize: number,
): Promise<number> {
  const { index } = checkpoint;
  if (!index) return 0;
  const names = tensors.map((_, i) => shardName(stemOf(sink), i + 1, tensors.length));
  const weightMap = new Map(tensors.flatMap((each, i) => each.map((tensor) => [tensor, names[i]!] as const)));
  const bytes = encodeShardIndex(index.metadata, totalSize, weightMap);
  await sink.write(0, bytes);
  return bytes.byteLength;
}

/** How many bytes of data there are. */
export function dataBytesOf({ byteLength, header }: SafetensorsPlan): number {
  return byteLength - header.byteLength;
}

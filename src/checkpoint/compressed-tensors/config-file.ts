import { FileError, FormatError } from "../../errors.ts";
import { type ByteSink, type ByteSource, readExactly } from "../../formats/byte-source.ts";
import { type Remark, remark } from "../../pipeline/model-report.ts";
import type { Checkpoint } from "../files/open-checkpoint.ts";
import { besides, stemOf } from "../files/output-files.ts";
import { addToConfig, type QuantizationConfig } from "./quantization-config.ts";

const CONFIG = "config.json";

/** A model's takes a few kilobytes. */
const MAX_CONFIG_BYTES = 10_000_000;

/**
 * Writes config.json beside the output: that beside the input with the quantization in it. Where there is none the
 * quantization is written to a file of its own, for loaders read it in config.json only, and a config.json without a model
 * would be taken for one.
 *
 * @returns what to do besides, a line each
 * @throws FormatError when it would replace the input's
 */
export async function writeConfig(
  checkpoint: Checkpoint,
  sink: ByteSink,
  config: QuantizationConfig,
): Promise<Remark[]> {
  const found = await findConfig(checkpoint);
  if (typeof found === "string") {
    const name = `${stemOf(sink)}.quantization_config.json`;
    const output = await besides(checkpoint, sink, name);
    await output.write(0, new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`));
    return [
      remark(
        "config",
        `no config.json to add to (${found}): what it needs as "quantization_config" is beside the output in ${name}`,
      ),
    ];
  }
  const { name, identity, text } = found;
  const added = addToConfig(name, text, config);
  const output = await besides(checkpoint, sink, CONFIG);
  if (identity !== undefined && output.replaces === identity) {
    throw new FormatError(name, "is the float model's and would be replaced; write to another folder");
  }
  await output.write(0, new TextEncoder().encode(added));
  return [
    remark(
      "config",
      `${CONFIG} is written beside it: the input's with a quantization_config; tokenizer, generation config and the like are to be copied beside it`,
    ),
  ];
}

/** config.json beside the input, or why there is none. */
async function findConfig({
  sibling,
}: Checkpoint): Promise<
  { readonly name: string; readonly identity: string | undefined; readonly text: string } | string
> {
  if (!sibling) return "the input was given by itself";
  let source: ByteSource & { close?(): Promise<void> };
  try {
    source = await sibling(CONFIG);
  } catch (error) {
    if (error instanceof FileError) return error.message;
    throw error;
  }
  try {
    const { name, byteLength, identity } = source;
    if (byteLength > MAX_CONFIG_BYTES)
      throw new FormatError(name, `${byteLength} bytes are too many for a config.json`);
    return { name, identity, text: decode(name, await readExactly(source, 0, byteLength)) };
  } finally {
    await source.close?.();
  }
}

function decode(file: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(file, "is not UTF-8", undefined, { cause });
  }
}

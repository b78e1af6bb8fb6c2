import type { Engine } from "../engine/engine.ts";
import { FormatError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../formats/byte-source.ts";
import type { ModelReport } from "../pipeline/model-report.ts";
import { holdsPacked } from "./compressed-tensors/module-names.ts";
import { quantizeCompressed } from "./compressed-tensors/quantize-compressed.ts";
import type { QuantizeCheckpointOptions } from "./files/checkpoint-options.ts";
import { type Checkpoint, withCheckpoint } from "./files/open-checkpoint.ts";
import { METADATA_KEY } from "./plain/plain-layout.ts";
import { quantizePlain } from "./plain/quantize-plain.ts";

/** How codes and scales are written: by our own convention (plain-layout.ts), or as vLLM and transformers load them. */
export const layouts = ["plain", "compressed-tensors"] as const;

export type Layout = (typeof layouts)[number];

/**
 * Quantizes safetensors, .npy and .npz files into safetensors files, chunk by chunk. Leaves the sink open.
 *
 * @throws FormatError, ArgumentError, the signal's reason
 */
export function quantizeCheckpoint(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  { layout, ...options }: QuantizeCheckpointOptions & { readonly layout: Layout },
): Promise<ModelReport> {
  return withCheckpoint(source, (checkpoint) => {
    refuseQuantized(checkpoint);
    const quantize = layout === "plain" ? quantizePlain : quantizeCompressed;
    return quantize(engine, checkpoint, sink, options);
  });
}

/** @throws FormatError for what has codes in it already, which are no floats to be made smaller */
export function refuseQuantized({ name, files, tensors }: Checkpoint): void {
  if (!files.some(({ metadata }) => Object.hasOwn(metadata, METADATA_KEY)) && !holdsPacked(tensors)) return;
  throw new FormatError(name, "is quantized already; quantize the float file it was made from", undefined, {
    code: "already-quantized",
  });
}

import type { Engine } from "../../src/engine/engine.ts";
import {
  bytesSink,
  bytesSource,
  type ModelReport,
  type QuantizeModelOptions,
  quantizeForTransformersJs,
  quantizeModel,
  type TransformersJsOptions,
  type TransformersJsVariant,
} from "../../src/index.ts";
import { suffixes } from "../../src/onnx/transformers-js.ts";

/**
 * Quantizes models in memory, with an engine that need not be there yet. What has nothing to quantize comes out as it was: a
 * test that wants the error says `allowUnchanged: false`.
 */
export function quantizerOf(engine: () => Engine) {
  return async (
    model: Uint8Array,
    options: QuantizeModelOptions = {},
    name = "model.onnx",
  ): Promise<{ bytes: Uint8Array; report: ModelReport }> => {
    const sink = bytesSink();
    const report = await quantizeModel(engine(), bytesSource(model, name), sink, { allowUnchanged: true, ...options });
    return { bytes: sink.result(), report };
  };
}

/** The same of the set for transformers.js: each file by its variant. */
export function setMakerOf(engine: () => Engine) {
  return async (model: Uint8Array, options: TransformersJsOptions = {}) => {
    const sinks = new Map<string, ReturnType<typeof bytesSink>>();
    const { files: reports, skipped } = await quantizeForTransformersJs(
      engine(),
      bytesSource(model, "model.onnx"),
      async (suffix) => {
        const sink = bytesSink(`model${suffix}.onnx`);
        sinks.set(suffix, sink);
        return sink;
      },
      options,
    );
    const files = Object.fromEntries(reports.map(({ variant }) => [variant, sinks.get(suffixes[variant])!.result()]));
    return { reports, skipped, files: files as Record<TransformersJsVariant, Uint8Array>, suffixes: [...sinks.keys()] };
  };
}

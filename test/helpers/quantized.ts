import type { Engine } from "../../src/engine/engine.ts";
import { bytesSink, bytesSource, type ModelReport, type QuantizeModelOptions, quantizeModel } from "../../src/index.ts";

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

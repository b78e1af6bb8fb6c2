import { expect } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import type { QuantizeModelOptions } from "../../src/model.ts";
import { quantizerOf } from "./quantized.ts";
import { remarksOf } from "./remarks.ts";
import { nearness, opsIn, type Sketch, sketch } from "./sketch.ts";

/** dB: a random input and a random weight of 8 bits lose about 40 each, those of half the codes 6 more. */
export const NEAR = 30;

/** Types of nodes that have an integer form in dynamic mode; ConvInteger is made where Conv is named. */
export const integerTypes = ["MatMul", "Gemm", "Conv", "Gather", "LSTM", "com.microsoft.Attention"];

/** 8 bits in all ways that they go. */
export const eightBits: readonly QuantizeModelOptions[] = (["int8", "uint8"] as const).flatMap((dtype) => [
  { dtype, perChannel: true },
  { dtype, perChannel: false },
  { dtype, perChannel: true, reduceRange: true },
]);

/** What becomes of small models in one mode or format, `always` said, by an engine that need not be there yet. */
export function rewriterOf(engine: () => Engine, always: QuantizeModelOptions) {
  const quantized = quantizerOf(engine);

  async function rewritten(model: Sketch, options: QuantizeModelOptions = {}) {
    const before = sketch(model);
    const { bytes, report } = await quantized(before, { ...always, ...options });
    return { before, bytes, report, ops: opsIn(bytes), reasons: report.tensors.map(({ reason }) => reason) };
  }

  return {
    quantized,
    rewritten,

    /** Expects that it runs in both runtimes near the float model, and gives the types of its nodes. */
    async expectNear(model: Sketch, options: QuantizeModelOptions = {}, least = NEAR): Promise<Record<string, number>> {
      const { before, bytes, ops } = await rewritten(model, options);
      expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(least);
      return ops;
    },

    /**
     * Expects that no layer works on integers, for these reasons, whether its weight is stored as codes or not, and gives the
     * report's remarks.
     */
    async expectFloat(model: Sketch, reasons: readonly string[], options: QuantizeModelOptions = {}) {
      const { ops, report } = await rewritten(model, options);
      expect(Object.keys(ops).filter((op) => /Integer|^Q|DynamicQuantize/.test(op))).toEqual([]);
      const said = [...report.tensors.map(({ reason = "" }) => reason), ...remarksOf(report)];
      for (const reason of reasons) expect(said).toContainEqual(expect.stringContaining(reason));
      return remarksOf(report);
    },

    /** Expects that the model is written as it was, its weights for these reasons, and gives the report's remarks. */
    async expectLeft(model: Sketch, reasons: readonly string[], options: QuantizeModelOptions = {}) {
      const result = await rewritten(model, options);
      expect(result.reasons).toEqual(reasons);
      expect(result.bytes).toEqual(result.before);
      return remarksOf(result.report);
    },
  };
}

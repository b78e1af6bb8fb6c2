import { basename } from "node:path";
import type { Engine } from "../../src/engine/engine.ts";
import { isWasmQuantError } from "../../src/errors.ts";
import type { ByteSource } from "../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { fileSink } from "../../src/node.ts";

/** A way to quantize a model. */
export interface Form {
  readonly name: string;
  readonly options: QuantizeModelOptions;
  /** The type of node without which this is another form. */
  readonly needs?: string;
}

const withConv = ["MatMul", "Gemm", "Conv", "Gather", "LSTM", "com.microsoft.Attention"];

export const forms: readonly Form[] = [
  { name: "int8", options: { dtype: "int8", format: "cast" } },
  { name: "uint8", options: { dtype: "uint8", format: "cast" } },
  { name: "int8 qdq", options: { dtype: "int8", format: "qdq" } },
  { name: "int8 nbits", options: { bits: 8, format: "nbits" } },
  { name: "int8 nbits, level 4", options: { bits: 8, format: "nbits", accuracyLevel: 4 } },
  { name: "int4 nbits", options: { dtype: "int4", format: "nbits" } },
  { name: "int4 nbits, level 4", options: { dtype: "int4", format: "nbits", accuracyLevel: 4 } },
  { name: "int4 qdq", options: { dtype: "int4", format: "qdq" } },
  { name: "dynamic int8", options: { mode: "dynamic", dtype: "int8" } },
  { name: "dynamic uint8", options: { mode: "dynamic", dtype: "uint8" } },
  { name: "dynamic int8, Conv", options: { mode: "dynamic", dtype: "int8", opTypes: withConv }, needs: "Conv" },
  { name: "dynamic uint8, Conv", options: { mode: "dynamic", dtype: "uint8", opTypes: withConv }, needs: "Conv" },
  { name: "float16", options: { dtype: "float16" } },
];

/** A model in some form, as a file; or why there is none. */
export type Made = { readonly size: number } | { readonly reason: string };

/** Writes `model` to `path` in that form. */
export async function makeForm(engine: Engine, source: ByteSource, form: Form, path: string): Promise<Made> {
  try {
    const sink = await fileSink(path, { overwrite: true });
    const report = await quantizeModel(engine, source, sink, form.options);
    const changed = report.tensors.filter(({ from, to }) => from !== to);
    if (form.needs !== undefined && !changed.some(({ ops }) => ops?.includes(form.needs!))) {
      return { reason: `no ${form.needs} is quantized, so this is the form without it` };
    }
    return { size: report.bytesAfter / report.bytesBefore };
  } catch (error) {
    if (!isWasmQuantError(error)) throw error;
    return { reason: error.message.replaceAll(source.name, basename(source.name)) };
  }
}

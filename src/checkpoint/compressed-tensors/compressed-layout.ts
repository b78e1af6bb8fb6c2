import { elementsOf } from "../../engine/tensors/shape.ts";
import { ArgumentError } from "../../errors.ts";
import type { SafetensorsFloat } from "../../formats/float-types.ts";
import type { SafetensorsItem } from "../../formats/safetensors.ts";
import { listNames } from "../../pipeline/phrases.ts";
import type { Selection } from "../files/checkpoint-options.ts";
import { isLinear, moduleOf } from "./module-names.ts";

/**
 * The compressed-tensors layout of a checkpoint, as vLLM and transformers load it: linear weights alone, each as a few
 * tensors under its module's name, the rest as it was, and how to read them in config.json (quantization-config.ts).
 *
 * `pack-quantized`, weights alone: `weight_packed` (I32, codes offset to be unsigned, as many to a word as fit, low bits
 * first, along a row), `weight_scale` (the type of the weights, [rows, groups]), for asymmetric ones `weight_zero_point`
 * (I32, packed likewise but down the rows) and `weight_shape` (I64). Of int8 weights too: vLLM takes no others in
 * `int-quantized`, which is for layers whose activations are quantized as well: `weight` (I8) and `weight_scale`.
 * Restored: (code - zero point) * scale.
 *
 * From vllm-project/compressed-tensors ac8e2ba (August 2026): compressors/pack_quantized, compressors/naive_quantized,
 * quantization/lifecycle/initialize.py; and vllm-project/vllm of September 2026, layers/quantization/compressed_tensors:
 * compressed_tensors.py, schemes/compressed_tensors_wNa16.py, schemes/compressed_tensors_w8a8_int8.py.
 */
export interface Compression {
  readonly bits: 4 | 8;
  readonly symmetric: boolean;
  /** Columns that share a scale. Default: one scale to a row. */
  readonly groupSize?: number | undefined;
  /** Whether activations are quantized too, token by token as they come (`int-quantized`). */
  readonly activations: boolean;
}

/** Columns to a group that vLLM's Marlin kernels take (quantization/utils/marlin_utils.py). */
export const groupSizes: readonly number[] = [32, 64, 128];

/**
 * The layout for what was selected.
 *
 * @throws ArgumentError for what vLLM does not load.
 */
export function compressionOf(
  { dtype, scheme, perChannel, axis, blockSize }: Omit<Selection, "include" | "exclude">,
  activations = false,
): Compression {
  const fail = (argument: string, detail: string) => new ArgumentError(argument, `compressed-tensors: ${detail}`);
  if (dtype !== "int4" && dtype !== "int8") throw fail("dtype", `${dtype} given; there are int8 and int4`);
  if (scheme !== "symmetric" && scheme !== "asymmetric") {
    throw fail("scheme", `${scheme} given; there are symmetric and asymmetric`);
  }
  const symmetric = scheme === "symmetric";
  const bits = dtype === "int4" ? 4 : 8;
  if (blockSize !== undefined && !groupSizes.includes(blockSize)) {
    throw fail("blockSize", `${blockSize} given; vLLM takes ${listNames(groupSizes.map(String))}`);
  }
  if (blockSize === undefined && !perChannel) throw fail("perChannel", "vLLM takes a scale for each channel or block");
  const along = blockSize === undefined ? 0 : 1;
  if (axis !== undefined && axis !== along && axis !== along - 2) {
    throw fail("axis", `${axis} given; ${along === 0 ? "channels are rows, axis 0" : "blocks run along axis 1"}`);
  }
  if (bits === 8 && !symmetric) throw fail("scheme", "vLLM has no kernel for int8 with zero points; take symmetric");
  if (activations && (bits !== 8 || blockSize !== undefined)) {
    throw fail("activations", "are quantized with int8 weights and a scale for each channel only");
  }
  return { bits, symmetric, groupSize: blockSize, activations };
}

/** Rows that lie together: chunks of rows begin at multiples of this, for zero points share words. */
export function rowsTogether({ bits, symmetric }: Compression): number {
  return symmetric ? 1 : 32 / bits;
}

/** Groups to a row. */
export function groupsOf(columns: number, { groupSize }: Compression): number {
  return groupSize === undefined ? 1 : Math.ceil(columns / groupSize);
}

/** Words that so many codes take. */
export function wordsOf(codes: number, bits: number): number {
  return Math.ceil((codes * bits) / 32);
}

/**
 * Why a tensor is left as it is; undefined where it is quantized.
 *
 * @param asked whether it was named by who quantizes: embeddings, heads and routers are left otherwise
 */
export function unfitness(
  { name, shape }: Pick<SafetensorsItem, "name" | "shape">,
  { bits, symmetric, groupSize, activations }: Compression,
  asked = false,
): string | undefined {
  if (!name.endsWith(".weight")) return "not a layer's weight";
  if (shape.length !== 2) return "not a matrix";
  if (elementsOf(shape) === 0) return "empty";
  if (!asked && !isLinear(moduleOf(name))) return "an embedding, a head or a router";
  const [rows, columns] = shape as [number, number];
  if (groupSize !== undefined && columns % groupSize !== 0) return `${columns} columns are not blocks of ${groupSize}`;
  // compressed-tensors fills words up; vLLM counts whole ones
  const perWord = 32 / bits;
  if (!activations && columns % perWord !== 0) return `${columns} columns do not fill words of ${perWord}`;
  if (!symmetric && rows % perWord !== 0) return `zero points of ${rows} rows do not fill words of ${perWord}`;
  return undefined;
}

export type CompressedPart = "codes" | "scale" | "zeroPoint" | "shape";

export interface CompressedItem extends SafetensorsItem {
  readonly part: CompressedPart;
}

/** Name, type and shape of each part of a weight, in the order they are written. */
export function compressedParts(
  {
    name,
    dtype,
    shape,
  }: { readonly name: string; readonly dtype: SafetensorsFloat; readonly shape: readonly number[] },
  compression: Compression,
): CompressedItem[] {
  const { bits, symmetric, activations } = compression;
  const [rows, columns] = shape as [number, number];
  const groups = groupsOf(columns, compression);
  const scale: CompressedItem = { part: "scale", name: `${name}_scale`, dtype, shape: [rows, groups] };
  if (activations) return [{ part: "codes", name, dtype: "I8", shape }, scale];
  const packed = [rows, wordsOf(columns, bits)];
  const parts: CompressedItem[] = [{ part: "codes", name: `${name}_packed`, dtype: "I32", shape: packed }, scale];
  if (!symmetric) {
    parts.push({ part: "zeroPoint", name: `${name}_zero_point`, dtype: "I32", shape: [wordsOf(rows, bits), groups] });
  }
  parts.push({ part: "shape", name: `${name}_shape`, dtype: "I64", shape: [2] });
  return parts;
}

import { type CodeDType, codeTypes } from "../../dtypes.ts";
import { type Granularity, scaleShapeOf } from "../../engine/tensors/granularity.ts";
import type { SchemeName } from "../../engine/tensors/schemes.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import type { SafetensorsFloat } from "../../formats/float-types.ts";
import type { SafetensorsDType, SafetensorsItem } from "../../formats/safetensors.ts";

/**
 * How a quantized checkpoint is written, in plain safetensors. The codes stand under the tensor's own name: 8- and 16-bit
 * codes in its shape, 4-bit codes as flat bytes, two to a byte, low nibble first. Beside them `<name>.scale` (F32, in the
 * shape of the groups), `<name>.zero_point` (the codes' type, 4-bit ones a byte each) and under float-offset `<name>.min` (F32).
 * The metadata entry `wasm_quant` says how to read them back.
 */
export const METADATA_KEY = "wasm_quant";

/** Of this convention, as the entry states it. */
export const CONVENTION_VERSION = 1;

/** What the metadata entry holds for each quantized tensor. */
export interface QuantizedEntry {
  readonly dtype: CodeDType;
  /** The tensor's shape and type before. */
  readonly shape: readonly number[];
  readonly source: SafetensorsFloat;
  readonly scheme: SchemeName;
  readonly granularity: Granularity;
}

export type QuantizedEntries = ReadonlyMap<string, QuantizedEntry>;

/** The parts of a quantized tensor, in the order they are written. */
export type Part = "codes" | "scale" | "zeroPoint" | "min";

const storage: Readonly<Record<CodeDType, SafetensorsDType>> = {
  int8: "I8",
  uint8: "U8",
  int16: "I16",
  uint16: "U16",
  int4: "U8",
  uint4: "U8",
};

const zeroPointTypes: Readonly<Record<CodeDType, SafetensorsDType>> = { ...storage, int4: "I8" };

interface PartItem extends SafetensorsItem {
  readonly part: Part;
}

/** Name, type and shape of each part. */
export function partsOf(name: string, { dtype, shape, scheme, granularity }: QuantizedEntry): PartItem[] {
  const groups = scaleShapeOf(shape, granularity);
  const packed = codeTypes[dtype].bits === 4;
  const parts: PartItem[] = [
    { part: "codes", name, dtype: storage[dtype], shape: packed ? [Math.ceil(elementsOf(shape) / 2)] : shape },
    { part: "scale", name: `${name}.scale`, dtype: "F32", shape: groups },
    { part: "zeroPoint", name: `${name}.zero_point`, dtype: zeroPointTypes[dtype], shape: groups },
  ];
  if (scheme === "float-offset") parts.push({ part: "min", name: `${name}.min`, dtype: "F32", shape: groups });
  return parts;
}

/** The typed array zero points are stored in: that of the codes, a byte each for 4-bit ones. */
export function zeroPointArrayOf(dtype: CodeDType) {
  return dtype === "int4" ? Int8Array : codeTypes[dtype].array;
}

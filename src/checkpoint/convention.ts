import type { Granularity } from "../core/granularity.ts";
import { checkGranularity, scaleShapeOf } from "../core/granularity.ts";
import { type SchemeName, schemeNames } from "../core/schemes.ts";
import { checkShape, elementsOf } from "../core/shape.ts";
import { type CodeDType, codeTypes } from "../dtypes.ts";
import { ArgumentError, FormatError } from "../errors.ts";
import type { FloatName } from "../formats/floats.ts";
import { isFloatName } from "../formats/floats.ts";
import type { SafetensorsDType, SafetensorsItem } from "../formats/safetensors.ts";

/**
 * How a quantized checkpoint is written, in plain safetensors. The codes stand under the tensor's own name: 8- and 16-bit
 * codes in its shape, 4-bit codes as flat bytes, two to a byte, low nibble first. Beside them `<name>.scale` (F32, in the
 * shape of the groups), `<name>.zero_point` (the codes' type, 4-bit ones a byte each) and under minmax `<name>.min` (F32).
 * The metadata entry `wasm_quant` says how to read them back.
 */
export const METADATA_KEY = "wasm_quant";

const VERSION = 1;

/** What the metadata entry holds for each quantized tensor. */
export interface Entry {
  readonly dtype: CodeDType;
  /** The tensor's shape and type before. */
  readonly shape: readonly number[];
  readonly source: FloatName;
  readonly scheme: SchemeName;
  readonly granularity: Granularity;
}

export type Entries = ReadonlyMap<string, Entry>;

/** The parts of a quantized tensor, in the order they are written. */
export type Part = "codes" | "scale" | "zeroPoint" | "min";

export const partNames: Readonly<Record<Part, (name: string) => string>> = {
  codes: (name) => name,
  scale: (name) => `${name}.scale`,
  zeroPoint: (name) => `${name}.zero_point`,
  min: (name) => `${name}.min`,
};

const storage: Readonly<Record<CodeDType, SafetensorsDType>> = {
  int8: "I8",
  uint8: "U8",
  int16: "I16",
  uint16: "U16",
  int4: "U8",
  uint4: "U8",
};

const zeroPointTypes: Readonly<Record<CodeDType, SafetensorsDType>> = { ...storage, int4: "I8" };

export interface PartItem extends SafetensorsItem {
  readonly part: Part;
}

/** Name, type and shape of each part. */
export function partsOf(name: string, { dtype, shape, scheme, granularity }: Entry): PartItem[] {
  const groups = scaleShapeOf(shape, granularity);
  const packed = codeTypes[dtype].bits === 4;
  const parts: PartItem[] = [
    { part: "codes", name, dtype: storage[dtype], shape: packed ? [Math.ceil(elementsOf(shape) / 2)] : shape },
    { part: "scale", name: partNames.scale(name), dtype: "F32", shape: groups },
    { part: "zeroPoint", name: partNames.zeroPoint(name), dtype: zeroPointTypes[dtype], shape: groups },
  ];
  if (scheme === "minmax") parts.push({ part: "min", name: partNames.min(name), dtype: "F32", shape: groups });
  return parts;
}

/** The typed array zero points are stored in: that of the codes, a byte each for 4-bit ones. */
export function zeroPointArrayOf(dtype: CodeDType) {
  return dtype === "int4" ? Int8Array : codeTypes[dtype].array;
}

export function entriesToText(entries: Entries): string {
  const tensors = Array.from(entries, ([name, { granularity, ...entry }]) => ({ name, ...entry, ...granularity }));
  return JSON.stringify({ version: VERSION, tensors });
}

/**
 * Reads the metadata entry; undefined when the file has none.
 *
 * @throws FormatError when the entry is not what this version writes.
 */
export function entriesFromText(file: string, text: string | undefined): Entries | undefined {
  if (text === undefined) return undefined;
  const fail = (message: string, tensor?: string) =>
    new FormatError(file, `metadata ${METADATA_KEY}: ${message}`, tensor);
  const parsed = parse(text);
  if (parsed?.version !== VERSION) throw fail(`version ${String(parsed?.version)}; this version reads ${VERSION}`);
  if (!Array.isArray(parsed.tensors)) throw fail("lists no tensors");
  const entries = new Map<string, Entry>();
  for (const item of parsed.tensors as unknown[]) {
    const record = (typeof item === "object" && item !== null ? item : {}) as Record<string, unknown>;
    const { name } = record;
    if (typeof name !== "string" || entries.has(name)) throw fail(`name ${JSON.stringify(name)} is not one of its own`);
    const entry = entryOf(record);
    if (typeof entry === "string") throw fail(entry, name);
    entries.set(name, entry);
  }
  return entries;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** An entry, or what is wrong with it. */
function entryOf(record: Record<string, unknown>): Entry | string {
  const { dtype, source, scheme } = record as { dtype: CodeDType; source: FloatName; scheme: SchemeName };
  if (!Object.hasOwn(codeTypes, String(dtype))) return `dtype ${JSON.stringify(dtype)}`;
  if (!isFloatName(source)) return `source ${JSON.stringify(source)}`;
  if (!schemeNames.includes(scheme)) return `scheme ${JSON.stringify(scheme)}`;
  try {
    const shape = checkShape(record.shape as number[]);
    return { dtype, source, scheme, shape, granularity: checkGranularity(shape, record as Granularity) };
  } catch (error) {
    if (error instanceof ArgumentError) return error.message;
    throw error;
  }
}

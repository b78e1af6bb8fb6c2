import { type Axis, checkGranularity, type Granularity } from "../../engine/tensors/granularity.ts";
import { codeNames } from "../../engine/tensors/quantize-options.ts";
import { type SchemeName, schemeNames } from "../../engine/tensors/schemes.ts";
import { checkShape } from "../../engine/tensors/shape.ts";
import { ArgumentError, FormatError } from "../../errors.ts";
import { isFloatName } from "../../formats/float-types.ts";
import { type JsonValue, parseJson, show } from "../../formats/json.ts";
import type { SafetensorsDType } from "../../formats/safetensors.ts";
import { CONVENTION_VERSION, METADATA_KEY, type QuantizedEntries, type QuantizedEntry } from "./plain-layout.ts";

/** The metadata entry for quantized tensors, as JSON. */
export function metadataText(entries: QuantizedEntries): string {
  const tensors = Array.from(entries, ([name, { granularity, ...entry }]) => ({ name, ...entry, ...granularity }));
  return JSON.stringify({ version: CONVENTION_VERSION, tensors });
}

/** A tensor's rank is a few; a list of thousands is an attack on whoever prints it. */
const MOST_DIMENSIONS = 64;

/** What version 0.1.0 called schemes. */
const oldSchemeNames: ReadonlyMap<JsonValue | undefined, SchemeName> = new Map([
  ["affine", "asymmetric"],
  ["minmax", "float-offset"],
]);

type Record = ReadonlyMap<string, JsonValue>;

/**
 * Reads the metadata entry; undefined when the file has none.
 *
 * @throws FormatError when the entry is not what this version writes.
 */
export function parseMetadata(file: string, text: string | undefined): QuantizedEntries | undefined {
  if (text === undefined) return undefined;
  const fail = (message: string, tensor?: string) =>
    new FormatError(file, `metadata ${METADATA_KEY}: ${message}`, tensor);
  const parsed = parseJson(text, (message) => fail(message));
  const version = parsed instanceof Map ? parsed.get("version") : undefined;
  if (version !== CONVENTION_VERSION) {
    throw fail(`version ${show(version)}; this release reads ${CONVENTION_VERSION}`);
  }
  const tensors = (parsed as Record).get("tensors");
  if (!Array.isArray(tensors)) throw fail("lists no tensors");
  const entries = new Map<string, QuantizedEntry>();
  for (const item of tensors) {
    const record: Record = item instanceof Map ? item : new Map();
    const name = record.get("name");
    if (typeof name !== "string") throw fail(`name ${show(name)} is not a name`);
    if (entries.has(name)) throw fail("is listed twice", name);
    const entry = entryOf(record);
    if (typeof entry === "string") throw fail(entry, name);
    entries.set(name, entry);
  }
  return entries;
}

/** An entry, or what is wrong with it. */
function entryOf(record: Record): QuantizedEntry | string {
  const dtype = codeNames.find((name) => name === record.get("dtype"));
  const source = record.get("source");
  const named = record.get("scheme");
  const scheme = oldSchemeNames.get(named) ?? schemeNames.find((name) => name === named);
  const [shape, axis, blockSize] = [record.get("shape"), record.get("axis"), record.get("blockSize")];
  if (!dtype) return `dtype ${show(record.get("dtype"))}`;
  if (typeof source !== "string" || !isFloatName(source as SafetensorsDType)) return `source ${show(source)}`;
  if (!scheme) return `scheme ${show(named)}`;
  if (!isNumbers(shape)) return `shape ${show(shape)}`;
  if (axis !== undefined && typeof axis !== "number" && !isNumbers(axis)) return `axis ${show(axis)}`;
  if (blockSize !== undefined && typeof blockSize !== "number") return `blockSize ${show(blockSize)}`;
  try {
    const checked = checkShape(shape);
    const granularity: Granularity = checkGranularity(checked, { axis: axis as Axis | undefined, blockSize });
    return { dtype, source: source as QuantizedEntry["source"], scheme, shape: checked, granularity };
  } catch (error) {
    if (error instanceof ArgumentError) return error.message;
    throw error;
  }
}

function isNumbers(value: JsonValue | undefined): value is number[] {
  return Array.isArray(value) && value.length <= MOST_DIMENSIONS && value.every((x) => typeof x === "number");
}

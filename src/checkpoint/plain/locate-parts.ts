import { FormatError } from "../../errors.ts";
import type { SafetensorsItem } from "../../formats/safetensors.ts";
import type { Checkpoint, CheckpointTensor } from "../files/open-checkpoint.ts";
import { parseMetadata } from "./layout-metadata.ts";
import { METADATA_KEY, type Part, partsOf, type QuantizedEntries, type QuantizedEntry } from "./plain-layout.ts";

/** Where the parts of a quantized tensor lie: in the file that its entry is in. */
export type PartTensors = ReadonlyMap<Part, CheckpointTensor>;

/** What of a checkpoint is quantized. */
export interface Quantized {
  readonly entries: QuantizedEntries;
  readonly placesOf: ReadonlyMap<string, PartTensors>;
  /** Names of all parts, the codes among them. */
  readonly parts: ReadonlySet<string>;
}

/**
 * What of a checkpoint is quantized, held against the tensors there; undefined where no file has an entry.
 *
 * @throws FormatError
 */
export function quantizedIn({ files, tensors }: Checkpoint): Quantized | undefined {
  const entries = new Map<string, QuantizedEntry>();
  const placesOf = new Map<string, PartTensors>();
  let found = false;
  for (const [file, { source, metadata }] of files.entries()) {
    const own = parseMetadata(source.name, metadata[METADATA_KEY]);
    found ||= own !== undefined;
    const there = new Map(tensors.filter((tensor) => tensor.file === file).map((tensor) => [tensor.name, tensor]));
    for (const [name, entry] of own ?? []) {
      entries.set(name, entry);
      placesOf.set(name, locate(source.name, name, entry, there));
    }
  }
  const parts = new Set([...placesOf.values()].flatMap((places) => [...places.values()].map(({ name }) => name)));
  return found ? { entries, placesOf, parts } : undefined;
}

/** Finds the parts of an entry, held against the types and shapes they should have. */
function locate(
  file: string,
  name: string,
  entry: QuantizedEntry,
  tensors: ReadonlyMap<string, CheckpointTensor>,
): PartTensors {
  const places = partsOf(name, entry).map((wanted) => {
    const found = tensors.get(wanted.name);
    const describe = ({ dtype, shape }: SafetensorsItem) => `${dtype} [${shape.join(", ")}]`;
    if (found && describe(found) === describe(wanted)) return [wanted.part, found] as const;
    const there = found ? `is ${describe(found)}` : "is missing";
    throw new FormatError(file, `"${wanted.name}" ${there}; its entry wants ${describe(wanted)}`, name);
  });
  return new Map(places);
}

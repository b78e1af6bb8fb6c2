import { FormatError } from "../errors.ts";
import type { SafetensorsItem, SafetensorsTensor } from "../formats/safetensors.ts";
import { type Entries, type Part, partsOf } from "./convention.ts";

/** Where the parts of a quantized tensor lie. */
export type Places = ReadonlyMap<Part, SafetensorsTensor>;

/**
 * Finds the parts of every entry, held against the types and shapes they should have.
 *
 * @throws FormatError
 */
export function locate(
  file: string,
  entries: Entries,
  tensors: readonly SafetensorsTensor[],
): ReadonlyMap<string, Places> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return new Map(
    Array.from(entries, ([name, entry]) => {
      const places = partsOf(name, entry).map((wanted) => {
        const found = byName.get(wanted.name);
        const describe = ({ dtype, shape }: SafetensorsItem) => `${dtype} [${shape.join(", ")}]`;
        if (found && describe(found) === describe(wanted)) return [wanted.part, found] as const;
        const there = found ? `is ${describe(found)}` : "is missing";
        throw new FormatError(file, `"${wanted.name}" ${there}; its entry wants ${describe(wanted)}`, name);
      });
      return [name, new Map(places)];
    }),
  );
}

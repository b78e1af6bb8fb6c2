import { closestMatch } from "leven";
import { ArgumentError } from "../errors.ts";
import { graphsOf, type Model } from "./graph.ts";
import { opNameOf, weightOps } from "./ops.ts";

/**
 * Holds a list of op types against a model. A list for all models may name types that this one lacks, if it has others of
 * them and they are known.
 *
 * @param ops the types whose weights are taken; undefined where any type of node may be named
 * @throws ArgumentError for a type that the model lacks, or whose weights are not taken
 */
export function checkOpTypes(model: Model, types: Iterable<string>, ops?: readonly string[]): void {
  const there = new Set<string>();
  for (const { nodes } of graphsOf(model.graph)) for (const node of nodes) there.add(opNameOf(node));
  const named = [...types];
  const known = ops ?? weightOps;
  const own = known.filter((type) => there.has(type)).join(", ") || "none";
  const none = named.every((type) => !there.has(type));
  for (const type of named) {
    if (there.has(type)) {
      if (ops && !ops.includes(type))
        throw new ArgumentError("opTypes", `${type} has no weights that can be quantized so; this model has: ${own}`);
    } else if (none || !known.includes(type)) {
      const close = weightOps.includes(type) ? undefined : suggestionFor(type, [...weightOps, ...there]);
      const hint = close === undefined ? "" : `; did you mean ${close}?`;
      throw new ArgumentError("opTypes", `the model has no ${type} node${hint || `; with weights it has: ${own}`}`);
    }
  }
}

/** The name that was meant, if one is near: other case, a letter or two swapped, missing or added. */
function suggestionFor(type: string, names: readonly string[]): string | undefined {
  const lower = type.toLowerCase();
  const same = names.find((name) => name !== type && name.toLowerCase() === lower);
  const maxDistance = Math.min(3, Math.max(1, Math.floor(type.length / 2)));
  return (
    same ??
    closestMatch(
      type,
      names.filter((name) => name !== type),
      { maxDistance },
    )
  );
}

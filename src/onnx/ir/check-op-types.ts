import { closestMatch } from "leven";
import { ArgumentError } from "../../errors.ts";
import { graphsOf, type Model } from "./graph.ts";
import { opNameOf, weightOps } from "./operators.ts";

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
  const taken = known.filter((type) => there.has(type)).join(", ");
  const own = taken === "" ? `${known.join(", ")} have, and this model has none of these` : `this model has: ${taken}`;
  const none = named.every((type) => !there.has(type));
  for (const type of named) {
    if (there.has(type)) {
      if (ops && !ops.includes(type))
        throw new ArgumentError("opTypes", `${type} has no weights that can be quantized so; ${own}`, {
          code: "no-match",
        });
    } else if (none || !known.includes(type)) {
      const close = weightOps.includes(type) ? undefined : suggestionFor(type, there, weightOps);
      const hint = close === undefined ? "" : `; did you mean ${close}?`;
      const has = close !== undefined && there.has(close) ? "" : `; with weights it has: ${taken || "none"}`;
      throw new ArgumentError("opTypes", `the model has no ${type} node${hint}${has}`, { code: "no-match" });
    }
  }
}

/** The name that was meant, if one is near: other case, a letter or two swapped, missing or added; one that is there first. */
function suggestionFor(type: string, there: Iterable<string>, known: Iterable<string>): string | undefined {
  const lower = type.toLowerCase();
  const maxDistance = Math.min(3, Math.max(1, Math.floor(type.length / 2)));
  for (const names of [[...there], [...known]]) {
    const close = names.find((name) => name.toLowerCase() === lower) ?? closestMatch(type, names, { maxDistance });
    if (close !== undefined) return close;
  }
  return undefined;
}

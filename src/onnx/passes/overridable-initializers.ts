import type { Model, Tensor } from "../ir/graph.ts";
import { FREE_INITIALIZERS } from "./graph-edits.ts";

/** Callers set a few inputs at the most; who lists this many initializers, and all there are, lists them out of habit. */
const HABIT = 8;

/**
 * Initializers that are inputs as well, which from IR version 4 on a caller may replace. None where all of many are, as
 * exporters for older versions had to write them.
 */
export function overridableIn({ graph, irVersion }: Model): ReadonlySet<Tensor> {
  if (irVersion < FREE_INITIALIZERS) return new Set();
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  const listed = graph.initializers.filter(({ name }) => inputs.has(name));
  const isHabit = listed.length >= HABIT && listed.length === graph.initializers.length;
  return new Set(isHabit ? [] : listed);
}

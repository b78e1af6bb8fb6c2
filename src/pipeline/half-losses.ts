import type { HalfDType } from "../dtypes.ts";
import type { HalfLosses } from "./half-conversion.ts";

/** A tensor that became halves. */
export interface HalvedTensor {
  readonly name: string;
  readonly elements: number;
  readonly halves: HalfLosses;
}

/** What half precision does not hold of tensors: a line for each kind of loss. */
export function remarksOnHalves(dtype: HalfDType, tensors: readonly HalvedTensor[]): string[] {
  const tell = (what: string, count: (lost: HalfLosses) => number, example?: (lost: HalfLosses) => string) => {
    const told = tensors.flatMap(({ name, elements, halves }) => {
      const n = count(halves);
      if (n === 0) return [];
      const such = example ? `, such as ${example(halves)}` : "";
      return [{ n, text: `${name} (${n} of ${elements}${such})` }];
    });
    if (told.length === 0) return [];
    const most = told.sort((a, b) => b.n - a.n).slice(0, MOST_TOLD);
    const rest = told.length > most.length ? `, and ${told.length - most.length} more` : "";
    return [`${what}: ${most.map(({ text }) => text).join(", ")}${rest}`];
  };
  return [
    ...tell(
      `beyond ${dtype}, now its largest`,
      ({ clamped }) => clamped,
      ({ first }) => `${first?.value}`,
    ),
    ...tell(`too small for ${dtype}, now its smallest lest they be 0`, ({ raised }) => raised),
    ...tell("NaN or infinite, as before", ({ nonFinite }) => nonFinite),
    ...tell(`too small for ${dtype}, now 0`, ({ zeros }) => zeros),
    ...tell(`too small to keep all bits in ${dtype}`, ({ subnormals }) => subnormals),
  ];
}

/** Tensors that a line names. */
const MOST_TOLD = 3;

import type { HalfDType } from "../dtypes.ts";
import type { HalfLosses } from "./half-conversion.ts";
import { type Remark, type RemarkCode, remark } from "./model-report.ts";

/** A tensor that became halves. */
export interface HalvedTensor {
  readonly name: string;
  readonly elements: number;
  readonly halves: HalfLosses;
}

/** What half precision does not hold of tensors: a line for each kind of loss. */
export function remarksOnHalves(dtype: HalfDType, tensors: readonly HalvedTensor[]): Remark[] {
  const lossOf = (
    code: RemarkCode,
    what: string,
    count: (lost: HalfLosses) => number,
    example?: (lost: HalfLosses) => string,
  ) => {
    const lossy = tensors.flatMap(({ name, elements, halves }) => {
      const n = count(halves);
      if (n === 0) return [];
      const such = example ? `, such as ${example(halves)}` : "";
      return [{ n, text: `${name} (${n} of ${elements}${such})` }];
    });
    if (lossy.length === 0) return [];
    const most = lossy.sort((a, b) => b.n - a.n).slice(0, MOST_NAMED);
    const rest = lossy.length > most.length ? `, and ${lossy.length - most.length} more` : "";
    return [remark(code, `${what}: ${most.map(({ text }) => text).join(", ")}${rest}`)];
  };
  return [
    ...lossOf(
      "clamped",
      `beyond ${dtype}, now its largest`,
      ({ clamped }) => clamped,
      ({ first }) => `${first?.value}`,
    ),
    ...lossOf("raised", `too small for ${dtype}, now its smallest lest they be 0`, ({ raised }) => raised),
    ...lossOf("non-finite", "NaN or infinite, as before", ({ nonFinite }) => nonFinite),
    ...lossOf("flushed-to-zero", `too small for ${dtype}, now 0`, ({ zeros }) => zeros),
    ...lossOf("subnormal", `too small to keep all bits in ${dtype}`, ({ subnormals }) => subnormals),
  ];
}

/** Tensors that a line names. */
const MOST_NAMED = 3;

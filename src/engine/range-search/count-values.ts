import type { KernelContext } from "../tensors/context.ts";
import { type Granularity, layoutOf } from "../tensors/granularity.ts";
import type { NonFinite } from "../tensors/quantize-options.ts";
import type { NamedOperand } from "../tensors/tensor.ts";
import { groupValues } from "./group-values.ts";
import type { Histogram } from "./histogram.ts";

/** Counts the values of a tensor, those of each group in its own histogram; `"ignore"` leaves out what is not finite. */
export function countValues(
  context: KernelContext,
  tensor: NamedOperand,
  granularity: Granularity,
  histograms: readonly Histogram[],
  nonFinite: NonFinite = "error",
): void {
  if (histograms.length === 1 && nonFinite === "error") {
    histograms[0]!.count(context, tensor);
    return;
  }
  groupValues(context, tensor, { start: 0 }, layoutOf(tensor.shape, granularity)).forEach((values, i) => {
    const data = nonFinite === "ignore" ? values.filter(Number.isFinite) : values;
    histograms[i]!.count(context, { dtype: "float32", data });
  });
}

import type { KernelContext } from "../tensors/context.ts";
import { type Granularity, layoutOf } from "../tensors/granularity.ts";
import type { NamedOperand } from "../tensors/tensor.ts";
import { groupValues } from "./group-values.ts";
import type { Histogram } from "./histogram.ts";

/** Counts the values of a tensor, those of each group in its own histogram. */
export function countValues(
  context: KernelContext,
  tensor: NamedOperand,
  granularity: Granularity,
  histograms: readonly Histogram[],
): void {
  if (histograms.length === 1) {
    histograms[0]!.count(context, tensor);
    return;
  }
  groupValues(context, tensor, { start: 0 }, layoutOf(tensor.shape, granularity)).forEach((data, i) => {
    histograms[i]!.count(context, { dtype: "float32", data });
  });
}

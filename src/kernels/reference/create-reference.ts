import type { Kernels } from "../abi.ts";
import { absMaxReference } from "./abs-max.ts";
import { dequantizeReference } from "./dequantize-groups.ts";
import { errorReference } from "./error-sums.ts";
import { halfReference } from "./half-conversion.ts";
import { halfLossReference } from "./half-loss.ts";
import { histogramReference } from "./histogram.ts";
import { searchReference } from "./nbits-search.ts";
import { nibbleReference } from "./nibbles.ts";
import { biasReference } from "./quantize-bias.ts";
import { bnb4Reference } from "./quantize-bnb4.ts";
import { fusedReference } from "./quantize-fused.ts";
import { quantizeReference } from "./quantize-groups.ts";
import { nbitsReference } from "./quantize-nbits.ts";
import { rangeReference } from "./range.ts";
import { roundingErrorReference } from "./rounding-error.ts";
import { transposeReference } from "./transpose.ts";

/**
 * The kernels in plain TypeScript: the same bytes, tens of times slower, written to be read. Tests hold the module to
 * them; they serve where an engine has WebAssembly without SIMD.
 */
export function createReference(memory: WebAssembly.Memory): Kernels {
  const viewOf = () => new DataView(memory.buffer);
  return {
    ...rangeReference(viewOf),
    ...absMaxReference(viewOf),
    ...histogramReference(viewOf),
    ...quantizeReference(viewOf),
    ...biasReference(viewOf),
    ...fusedReference(viewOf),
    ...dequantizeReference(viewOf),
    ...errorReference(viewOf),
    ...roundingErrorReference(viewOf),
    ...nibbleReference(viewOf),
    ...halfReference(viewOf),
    ...halfLossReference(viewOf),
    ...nbitsReference(viewOf),
    ...searchReference(viewOf),
    ...bnb4Reference(viewOf),
    ...transposeReference(viewOf),
  };
}

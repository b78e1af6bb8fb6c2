import type { Kernels } from "../abi.ts";
import { blockReference } from "./blocks.ts";
import { bnb4Reference } from "./bnb4.ts";
import { countReference } from "./count.ts";
import { errorReference } from "./error.ts";
import { halfReference } from "./half.ts";
import { nbitsReference } from "./nbits.ts";
import { nibbleReference } from "./nibbles.ts";
import { quantizeReference } from "./quantize.ts";
import { rangeReference } from "./range.ts";
import { searchReference } from "./search.ts";

/**
 * The kernels in plain TypeScript: the same bytes, tens of times slower, written to be read. Tests hold the module to
 * them; they serve where an engine has WebAssembly without SIMD.
 */
export function createReference(memory: WebAssembly.Memory): Kernels {
  const viewOf = () => new DataView(memory.buffer);
  return {
    ...rangeReference(viewOf),
    ...quantizeReference(viewOf),
    ...errorReference(viewOf),
    ...countReference(viewOf),
    ...halfReference(viewOf),
    ...nibbleReference(viewOf),
    ...blockReference(viewOf),
    ...nbitsReference(viewOf),
    ...searchReference(viewOf),
    ...bnb4Reference(viewOf),
  };
}

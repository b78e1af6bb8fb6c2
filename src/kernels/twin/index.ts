import type { Kernels } from "../abi.ts";
import { blockTwins } from "./blocks.ts";
import { bnb4Twins } from "./bnb4.ts";
import { countTwins } from "./count.ts";
import { errorTwins } from "./error.ts";
import { halfTwins } from "./half.ts";
import { nbitsTwins } from "./nbits.ts";
import { nibbleTwins } from "./nibbles.ts";
import { quantizeTwins } from "./quantize.ts";
import { rangeTwins } from "./range.ts";
import { searchTwins } from "./search.ts";

/**
 * The kernels in plain TypeScript: the same bytes, tens of times slower, written to be read. Tests hold the module to them; they serve where
 * an engine has WebAssembly without SIMD.
 */
export function createTwin(memory: WebAssembly.Memory): Kernels {
  const viewOf = () => new DataView(memory.buffer);
  return {
    ...rangeTwins(viewOf),
    ...quantizeTwins(viewOf),
    ...errorTwins(viewOf),
    ...countTwins(viewOf),
    ...halfTwins(viewOf),
    ...nibbleTwins(viewOf),
    ...blockTwins(viewOf),
    ...nbitsTwins(viewOf),
    ...searchTwins(viewOf),
    ...bnb4Twins(viewOf),
  };
}

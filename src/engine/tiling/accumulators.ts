import type { LinearMemory } from "../../kernels/memory.ts";
import { type Layout, parameterAt } from "../tensors/granularity.ts";
import type { KernelSlice } from "./kernel-slices.ts";

type Results = Float32Array | Float64Array;

/** Results that grow from slice to slice: kernels fold into a tile, what they have found lives outside. */
export interface Accumulators {
  /** Brings what `slice` folds into to the tile; how many of each result lie there. */
  hold(slice: KernelSlice): number;
  /** Takes what lies in the tile back: after the last slice. */
  release(): void;
}

/** Accumulators for `all`, one array a result; `addressOf` tells where the k-th of them lies with `count` held. */
export function accumulatorsOf(
  memory: LinearMemory,
  all: readonly Results[],
  addressOf: (k: number, count: number) => number,
): Accumulators {
  const Type = all[0] instanceof Float64Array ? Float64Array : Float32Array;
  let held = { first: 0, count: 0 };
  const tileOf = (k: number) => memory.view<Results>(Type, addressOf(k, held.count), held.count);
  const release = () => all.forEach((results, k) => void results.set(tileOf(k), held.first));
  return {
    hold(slice) {
      // Channels come round again: they stay in the tile for as long as the same ones are wanted.
      if (slice.first !== held.first || slice.count > held.count) {
        release();
        held = slice;
        all.forEach((results, k) => void tileOf(k).set(results.subarray(held.first, held.first + held.count)));
      }
      return held.count;
    },
    release,
  };
}

/** One result for each parameter from those of its copies, in order; `all` itself where there are no copies. */
export function foldCopies<T extends Results>(
  all: T,
  layout: Layout,
  initial: number,
  combine: (a: number, b: number) => number,
): T {
  if (layout.each === 1 && layout.times === 1) return all;
  const folded = new (all.constructor as new (length: number) => T)(layout.parameters).fill(initial) as T;
  for (let i = 0; i < all.length; i++) {
    const p = parameterAt(layout, i);
    folded[p] = combine(folded[p]!, all[i]!);
  }
  return folded;
}

import { type CodeDType, codeTypes } from "../../dtypes.ts";
import type { Blocks } from "../../kernels/abi.ts";
import type { KernelContext } from "../tensors/context.ts";
import type { Layout } from "../tensors/granularity.ts";
import { hasNoZeroPoints, levelsOf, type Parameters, type SchemeOptions } from "../tensors/schemes.ts";
import type { Operand } from "../tensors/tensor.ts";
import { kernelArguments } from "../tiling/kernel-slices.ts";
import { type TileSource, tileDestinationOf } from "../tiling/tile-io.ts";
import type { CodeWriter } from "./code-writer.ts";

/** Longer groups gain nothing from a kernel of their own. */
const LONGEST = 1024;

const kernelNames = {
  int4: "blocksF32I4",
  uint4: "blocksF32U4",
  int8: "blocksF32I8",
  uint8: "blocksF32U8",
} as const;

/** The kernel's number for a rule. */
function ruleOf({ dtype, scheme, blocks }: SchemeOptions): number {
  if (scheme === "asymmetric") return 0;
  return dtype === "int4" && blocks ? 2 : 1;
}

/** Whether groups are short, whole in every call, and of a type and scheme that the kernels for such groups know. */
export function canFuseBlocks(layout: Layout, { dtype, scheme }: SchemeOptions): boolean {
  const { outer, groups, inner, last, step, columns } = layout;
  if (columns > 0 || inner > LONGEST || last < 1 || (step === 0 && outer > 1)) return false;
  if (!(dtype in kernelNames) || (scheme !== "asymmetric" && scheme !== "symmetric")) return false;
  if (codeTypes[dtype].bits > 4) return true;
  return (groups === 1 || inner % 2 === 0) && (outer === 1 || ((groups - 1) * inner + last) % 2 === 0);
}

interface ShortWriter {
  /** Flat index of the layout's first element. */
  readonly base: number;
  /** Whether codes are going to be read, a byte each. */
  readonly readsBack: boolean;
  /** Takes over where a slice holds NaN or infinities that are to be left out. */
  readonly otherwise: CodeWriter | undefined;
  /** Tells of them where they are not. */
  readonly refuse: () => never;
}

/** Finds parameters and writes codes in one pass over a slice. */
export function fusedBlockWriterOf(
  context: KernelContext,
  source: TileSource,
  codes: Operand & { readonly dtype: CodeDType },
  how: SchemeOptions,
  into: Parameters,
  { base, readsBack, otherwise, refuse }: ShortWriter,
): CodeWriter {
  const { memory, kernels } = context;
  const { tiles } = memory;
  const { qmin, qmax } = levelsOf(how);
  const { bits, signed } = codeTypes[codes.dtype];
  const kernel = kernels[kernelNames[codes.dtype as keyof typeof kernelNames]] as (...args: Blocks) => number;
  const destination = tileDestinationOf(context, codes, bits === 4 ? "raw" : "codes", { asStored: true });
  const unpack = signed ? kernels.unpackI4 : kernels.unpackU4;
  const rule = ruleOf(how);
  const isZero = hasNoZeroPoints(how);
  return {
    limit: Math.min(source.limit, destination.limit, otherwise?.limit ?? source.limit),
    write(slice) {
      const { length, first, count } = slice;
      const start = base + slice.start;
      const values = source.address(start, length);
      const to = destination.address(start, length);
      const shape = kernelArguments(slice) as [number, number, number, number, number];
      if (kernel(values, to, tiles.first, tiles.second, rule, qmin, qmax, ...shape) !== 0)
        return otherwise?.write(slice) ?? refuse();
      into.scale.set(memory.view(Float32Array, tiles.first, count), first);
      if (!isZero) into.zeroPoint.set(memory.view(Int32Array, tiles.second, count), first);
      destination.commit(start, length);
      if (bits > 4 || !readsBack) return { values, codes: to };
      unpack(to, tiles.codes, length, 0);
      return { values, codes: tiles.codes };
    },
  };
}

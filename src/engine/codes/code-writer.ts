import { type CodeDType, codeTypes, type IntegerDType, integerTypes } from "../../dtypes.ts";
import type { CodeName, Kernels } from "../../kernels/abi.ts";
import { TILE } from "../../kernels/memory.ts";
import type { KernelContext } from "../tensors/context.ts";
import type { Layout } from "../tensors/granularity.ts";
import type { Levels, Parameters } from "../tensors/schemes.ts";
import type { Operand } from "../tensors/tensor.ts";
import { type KernelSlice, kernelArguments, slicesOf } from "../tiling/kernel-slices.ts";
import {
  parameterTileOf,
  type TileDestination,
  type TileSource,
  tileDestinationOf,
  tileSourceOf,
} from "../tiling/tile-io.ts";

/** How kernels name the codes of a type; 4-bit codes are worked on a byte each. */
export function codeNameOf(dtype: CodeDType): CodeName {
  const { bits, signed } = codeTypes[dtype];
  return `${signed ? "I" : "U"}${bits === 16 ? 16 : 8}`;
}

type Call = (src: number, dst: number, first: number, second: number, shape: number[]) => void;

function kernelOf(kernels: Kernels, dtype: IntegerDType, columns: boolean, { span }: Parameters, levels: Levels): Call {
  const suffix = columns ? "Columns" : "";
  const named = (name: string) => kernels[`${name}${suffix}` as keyof Kernels] as (...args: number[]) => void;
  if (dtype === "int32") {
    const kernel = named("quantizeF32I32");
    return (src, dst, first, _, shape) => kernel(src, dst, first, ...shape);
  }
  const { min, max } = integerTypes[dtype];
  if (span) {
    const kernel = named(`floatOffsetF32${codeNameOf(dtype)}`);
    const { qmin, qmax } = levels;
    // qmin, not the type's lowest code, for a constant group: 0 / 0 is NaN, which becomes the lowest code there is.
    return (src, dst, first, second, shape) => kernel(src, dst, first, second, qmin, max, qmax - qmin, qmin, ...shape);
  }
  const kernel = named(`quantizeF32${codeNameOf(dtype)}`);
  return (src, dst, first, second, shape) => kernel(src, dst, first, second, min, max, ...shape);
}

/** Two ends of an operation, and what lies between: elements in, codes out. */
export interface Conversion {
  readonly source: TileSource;
  readonly destination: TileDestination;
  readonly dtype: IntegerDType;
}

/** From a tensor's values to where its codes belong. */
export function conversionOf(
  context: KernelContext,
  tensor: Operand,
  codes: Operand & { readonly dtype: IntegerDType },
): Conversion {
  const source = tileSourceOf(context, tensor, "values");
  return { source, destination: tileDestinationOf(context, codes, "codes"), dtype: codes.dtype };
}

/** Writes the codes of `tensor` into `codes`, both laid out by `layout`. */
export function writeCodes(
  context: KernelContext,
  tensor: Operand,
  codes: Operand & { readonly dtype: IntegerDType },
  layout: Layout,
  parameters: Parameters,
  levels: Levels,
): void {
  const { limit, write } = codeWriterOf(context, conversionOf(context, tensor, codes), layout, parameters, levels);
  for (const slice of slicesOf(layout, limit, TILE)) write(slice);
}

/** Where kernels can read what a slice went through until the next: float32 values and codes. */
export interface Written {
  readonly values: number;
  readonly codes: number;
}

export interface CodeWriter {
  /** The most elements a slice may have. */
  readonly limit: number;
  /** Writes the codes of a slice. */
  write(slice: KernelSlice): Written;
}

/** Puts the parameters of a slice's groups in place, its values at `address`. */
export type Find = (slice: KernelSlice, address: number) => void;

/**
 * Writes codes slice by slice of `layout`.
 *
 * @param base flat index of the layout's first element
 * @param find where parameters are not known beforehand
 */
export function codeWriterOf(
  context: KernelContext,
  { source, destination, dtype }: Conversion,
  layout: Layout,
  parameters: Parameters,
  levels: Levels,
  { base = 0, find }: { readonly base?: number; readonly find?: Find | undefined } = {},
): CodeWriter {
  const { kernels, memory } = context;
  const { scale, zeroPoint, min, span } = parameters;
  const first = parameterTileOf(context, memory.tiles.first, span ?? scale, layout);
  const second = parameterTileOf(context, memory.tiles.second, min ?? zeroPoint, layout);
  const kernel = kernelOf(kernels, dtype, layout.columns > 0, parameters, levels);
  return {
    limit: Math.min(source.limit, destination.limit),
    write(slice) {
      const { length } = slice;
      const start = base + slice.start;
      const values = source.address(start, length);
      const codes = destination.address(start, length);
      find?.(slice, values);
      kernel(values, codes, first(slice), second(slice), kernelArguments(slice));
      destination.commit(start, length);
      return { values, codes };
    },
  };
}

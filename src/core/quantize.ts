import { type CodeDType, codeTypes, type IntegerDType, integerTypes } from "../dtypes.ts";
import type { CodeName, Kernels } from "../kernels/abi.ts";
import { TILE } from "../kernels/memory.ts";
import type { Layout } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import { type Destination, destinationOf, type Operand, type Source, sourceOf } from "./operands.ts";
import { type Piece, piecesOf, shapeOf } from "./pieces.ts";
import type { Levels, Parameters } from "./schemes.ts";
import { stagerOf } from "./stage.ts";

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
  readonly source: Source;
  readonly destination: Destination;
  readonly dtype: IntegerDType;
}

/** From a tensor's values to where its codes belong. */
export function conversionOf(
  machine: Machine,
  tensor: Operand,
  codes: Operand & { readonly dtype: IntegerDType },
): Conversion {
  const source = sourceOf(machine, tensor, "values");
  return { source, destination: destinationOf(machine, codes, "codes"), dtype: codes.dtype };
}

/** Writes the codes of `tensor` into `codes`, both laid out by `layout`. */
export function writeCodes(
  machine: Machine,
  tensor: Operand,
  codes: Operand & { readonly dtype: IntegerDType },
  layout: Layout,
  parameters: Parameters,
  levels: Levels,
): void {
  const { limit, write } = codeWriterOf(machine, conversionOf(machine, tensor, codes), layout, parameters, levels);
  for (const piece of piecesOf(layout, limit, TILE)) write(piece);
}

/** Where kernels can read what a piece went through until the next: float32 values and codes. */
export interface Written {
  readonly values: number;
  readonly codes: number;
}

export interface CodeWriter {
  /** The most elements a piece may have. */
  readonly limit: number;
  /** Writes the codes of a piece. */
  write(piece: Piece): Written;
}

/** Puts the parameters of a piece's groups in place, its values at `address`. */
export type Find = (piece: Piece, address: number) => void;

/**
 * Writes codes piece by piece of `layout`.
 *
 * @param base flat index of the layout's first element
 * @param find where parameters are not known beforehand
 */
export function codeWriterOf(
  machine: Machine,
  { source, destination, dtype }: Conversion,
  layout: Layout,
  parameters: Parameters,
  levels: Levels,
  { base = 0, find }: { readonly base?: number; readonly find?: Find | undefined } = {},
): CodeWriter {
  const { kernels, memory } = machine;
  const { scale, zeroPoint, min, span } = parameters;
  const first = stagerOf(machine, memory.tiles.first, span ?? scale, layout);
  const second = stagerOf(machine, memory.tiles.second, min ?? zeroPoint, layout);
  const kernel = kernelOf(kernels, dtype, layout.columns > 0, parameters, levels);
  return {
    limit: Math.min(source.limit, destination.limit),
    write(piece) {
      const { length } = piece;
      const start = base + piece.start;
      const values = source.address(start, length);
      const codes = destination.address(start, length);
      find?.(piece, values);
      kernel(values, codes, first(piece), second(piece), shapeOf(piece));
      destination.commit(start, length);
      return { values, codes };
    },
  };
}

import { type CodeDType, codeTypes, type IntegerDType, integerTypes } from "../dtypes.ts";
import type { CodeName, Kernels } from "../kernels/abi.ts";
import { TILE } from "../kernels/memory.ts";
import type { Layout } from "./granularity.ts";
import type { Machine } from "./machine.ts";
import { destinationOf, type Operand, sourceOf } from "./operands.ts";
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
    const kernel = named(`minmaxF32${codeNameOf(dtype)}`);
    const { qmin, qmax } = levels;
    // qmin, not the type's lowest code, for a constant group: 0 / 0 is NaN, which becomes the lowest code there is.
    return (src, dst, first, second, shape) => kernel(src, dst, first, second, qmin, max, qmax - qmin, qmin, ...shape);
  }
  const kernel = named(`quantizeF32${codeNameOf(dtype)}`);
  return (src, dst, first, second, shape) => kernel(src, dst, first, second, min, max, ...shape);
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
  const { limit, write } = codeWriterOf(machine, tensor, codes, layout, parameters, levels);
  for (const piece of piecesOf(layout, limit, TILE)) write(piece);
}

export interface CodeWriter {
  /** The most elements a piece may have. */
  readonly limit: number;
  /** Writes the codes of a piece; where kernels can read them until the next. */
  write(piece: Piece): number;
}

/** Writes codes piece by piece of `layout`. */
export function codeWriterOf(
  machine: Machine,
  tensor: Operand,
  codes: Operand & { readonly dtype: IntegerDType },
  layout: Layout,
  parameters: Parameters,
  levels: Levels,
): CodeWriter {
  const { kernels, memory } = machine;
  const source = sourceOf(machine, tensor, "values");
  const destination = destinationOf(machine, codes, "codes");
  const { scale, zeroPoint, min, span } = parameters;
  const first = stagerOf(machine, memory.tiles.first, span ?? scale, layout);
  const second = stagerOf(machine, memory.tiles.second, min ?? zeroPoint, layout);
  const kernel = kernelOf(kernels, codes.dtype, layout.columns > 0, parameters, levels);
  return {
    limit: Math.min(source.limit, destination.limit),
    write(piece) {
      const { start, length } = piece;
      const src = source.address(start, length);
      const at = destination.address(start, length);
      kernel(src, at, first(piece), second(piece), shapeOf(piece));
      destination.commit(start, length);
      return at;
    },
  };
}

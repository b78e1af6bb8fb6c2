import type { CodeDType } from "../../dtypes.ts";
import { TILE } from "../../kernels/memory.ts";
import { refuseNonFinite } from "../measure/find-range.ts";
import type { Machine } from "../tensors/context.ts";
import type { Layout } from "../tensors/granularity.ts";
import type { QuantizePlan } from "../tensors/quantize-options.ts";
import { levelsOf, type Parameters } from "../tensors/schemes.ts";
import type { NamedOperand, Operand } from "../tensors/tensor.ts";
import { type CodeWriter, codeWriterOf, conversionOf } from "./code-writer.ts";
import { isShort, shortWriterOf } from "./fused-blocks.ts";
import { finderOf } from "./fused-parameters.ts";

interface WriterOptions {
  /** Whether parameters are found as pieces come by, which hold whole groups; they are taken as given otherwise. */
  readonly inTurn: boolean;
  /** The most elements that a cache holds while they are scanned and then quantized; a tile's if not said. */
  readonly most?: number;
  /** Flat index of the layout's first element. */
  readonly base?: number;
  /** Whether codes are going to be read, a byte each. */
  readonly readsBack?: boolean;
}

/** Writes the codes of `tensor`, as a plan has it, piece by piece of `layout`. */
export function writerFor(
  machine: Machine,
  tensor: NamedOperand,
  codes: Operand & { readonly dtype: CodeDType },
  plan: QuantizePlan<CodeDType>,
  layout: Layout,
  parameters: Parameters,
  { inTurn, most = TILE, base = 0, readsBack = false }: WriterOptions,
): CodeWriter {
  const conversion = conversionOf(machine, tensor, codes);
  const refuse = () => refuseNonFinite(machine, tensor, tensor.name);
  const find = inTurn ? finderOf(machine, plan, parameters, refuse) : undefined;
  const writer = codeWriterOf(machine, conversion, layout, parameters, levelsOf(plan), { base, find });
  if (!inTurn) return writer;
  const careful = { ...writer, limit: Math.min(writer.limit, most) };
  if (base % 2 === 1 || !isShort(layout, plan)) return careful;
  const otherwise = plan.nonFinite === "ignore" ? careful : undefined;
  return shortWriterOf(machine, conversion.source, codes, plan, parameters, { base, readsBack, otherwise, refuse });
}

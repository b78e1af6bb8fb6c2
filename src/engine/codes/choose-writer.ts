import type { CodeDType } from "../../dtypes.ts";
import { TILE } from "../../kernels/memory.ts";
import { refuseNonFinite } from "../measure/find-range.ts";
import type { KernelContext } from "../tensors/context.ts";
import type { Layout } from "../tensors/granularity.ts";
import type { QuantizePlan } from "../tensors/quantize-options.ts";
import { levelsOf, type Parameters } from "../tensors/schemes.ts";
import type { NamedOperand, Operand } from "../tensors/tensor.ts";
import { type CodeWriter, codeWriterOf, conversionOf } from "./code-writer.ts";
import { canFuseBlocks, fusedBlockWriterOf } from "./fused-blocks.ts";
import { parameterFinderOf } from "./fused-parameters.ts";

interface WriterOptions {
  /** Whether parameters are found as slices come by, which hold whole groups; they are taken as given otherwise. */
  readonly inTurn: boolean;
  /** The most elements that a cache holds while they are scanned and then quantized. Default: a tile's. */
  readonly most?: number;
  /** Flat index of the layout's first element. */
  readonly base?: number;
  /** Whether codes are going to be read, a byte each. */
  readonly readsBack?: boolean;
}

/** Writes the codes of `tensor`, as a plan has it, slice by slice of `layout`. */
export function chooseWriter(
  context: KernelContext,
  tensor: NamedOperand,
  codes: Operand & { readonly dtype: CodeDType },
  plan: QuantizePlan<CodeDType>,
  layout: Layout,
  parameters: Parameters,
  { inTurn, most = TILE, base = 0, readsBack = false }: WriterOptions,
): CodeWriter {
  const conversion = conversionOf(context, tensor, codes);
  const refuse = () => refuseNonFinite(context, tensor, tensor.name);
  const find = inTurn ? parameterFinderOf(context, plan, parameters, refuse) : undefined;
  const writer = codeWriterOf(context, conversion, layout, parameters, levelsOf(plan), { base, find });
  if (!inTurn) return writer;
  const careful = { ...writer, limit: Math.min(writer.limit, most) };
  if (base % 2 === 1 || !canFuseBlocks(layout, plan)) return careful;
  const otherwise = plan.nonFinite === "ignore" ? careful : undefined;
  return fusedBlockWriterOf(context, conversion.source, codes, plan, parameters, {
    base,
    readsBack,
    otherwise,
    refuse,
  });
}

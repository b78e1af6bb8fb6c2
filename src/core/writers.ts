import type { CodeDType } from "../dtypes.ts";
import { finderOf } from "./found.ts";
import type { Layout } from "./granularity.ts";
import type { NamedOperand } from "./lend.ts";
import type { Machine } from "./machine.ts";
import type { Operand } from "./operands.ts";
import type { QuantizePlan } from "./options.ts";
import { type CodeWriter, codeWriterOf, conversionOf } from "./quantize.ts";
import { refuseNonFinite } from "./range.ts";
import { levelsOf, type Parameters } from "./schemes.ts";
import { isShort, shortWriterOf } from "./short.ts";

interface WriterOptions {
  /** Whether parameters are found as pieces come by, which hold whole groups; they are taken as given otherwise. */
  readonly inTurn: boolean;
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
  { inTurn, base = 0, readsBack = false }: WriterOptions,
): CodeWriter {
  const conversion = conversionOf(machine, tensor, codes);
  const refuse = () => refuseNonFinite(machine, tensor, tensor.name);
  const find = inTurn ? finderOf(machine, plan, parameters, refuse) : undefined;
  const otherwise = codeWriterOf(machine, conversion, layout, parameters, levelsOf(plan), { base, find });
  if (!inTurn || base % 2 === 1 || !isShort(layout, plan)) return otherwise;
  return shortWriterOf(machine, conversion.source, codes, plan, parameters, { base, readsBack, otherwise });
}

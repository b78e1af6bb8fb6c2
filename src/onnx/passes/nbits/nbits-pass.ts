import type { Model } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import type { OpsetNeed, PassResult } from "../pass-result.ts";
import { proposeGather, proposeTiedGather } from "./gather-block-quantized.ts";
import { type Bnb4PassOptions, proposeBnb4 } from "./matmul-bnb4.ts";
import { proposeGemm, proposeMatMul } from "./matmul-nbits.ts";
import type { NbitsOptions } from "./nbits-options.ts";
import { type Forms, planBlockwise } from "./plan-blockwise.ts";

const nbitsForms: Forms<NbitsOptions> = {
  MatMul: { input: 1, propose: proposeMatMul },
  Gemm: { input: 1, propose: proposeGemm, proposeTied: proposeGemm },
  Gather: { input: 0, propose: proposeGather, proposeTied: proposeTiedGather },
};

/** MatMulBnb4's codes are no table's: rows are looked up in blocks of integers. */
const tables = { bits: 4, blockSize: 32, scheme: "symmetric", algorithm: "rtn" } as const;

const bnb4Forms: Forms<Bnb4PassOptions> = {
  MatMul: { input: 1, propose: proposeBnb4 },
  Gather: { input: 0, proposeTied: (node, weight) => proposeTiedGather(node, weight, tables) },
};

/** The opsets from which nodes that are put in are as they are written here. */
const needs: Readonly<Record<string, OpsetNeed>> = {
  // In the place of Gemm's C.
  Add: { opset: 7, what: "Add that broadcasts as numpy does" },
  Reshape: { opset: 5, what: "Reshape to a shape that is a tensor" },
};

/**
 * Plans matrices of 2, 4 or 8 bits in blocks: com.microsoft MatMulNBits in place of MatMul and Gemm, and
 * GatherBlockQuantized in place of Gather, where `opTypes` asks for it or the table is a weight of such a product, too. Names
 * and bytes of MatMul are as ONNX Runtime's MatMulNBitsQuantizer makes them, which takes no other.
 *
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export function planNbits(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  options: NbitsOptions,
): PassResult {
  const forms = { forms: nbitsForms, stored: `${options.bits}-bit` };
  const made = planBlockwise(model, root, constants, options, forms);
  const needed = Array.from(made.edits.nodes()).flatMap(({ opType }) => needs[opType] ?? []);
  const [most] = needed.sort((a, b) => b.opset - a.opset);
  return most ? { ...made, needs: most } : made;
}

/** Plans matrices of 4-bit floats (NF4) in blocks: com.microsoft MatMulBnb4 in place of MatMul. */
export function planBnb4(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  options: Bnb4PassOptions,
): PassResult {
  return planBlockwise(model, root, constants, options, { forms: bnb4Forms, stored: "4-bit float" });
}

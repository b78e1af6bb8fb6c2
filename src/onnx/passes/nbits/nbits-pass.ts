import type { Model } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import type { PassResult } from "../pass-result.ts";
import { proposeGather } from "./gather-block-quantized.ts";
import { type Bnb4PassOptions, proposeBnb4 } from "./matmul-bnb4.ts";
import { proposeGemm, proposeMatMul } from "./matmul-nbits.ts";
import type { NbitsOptions } from "./nbits-options.ts";
import { type Forms, planBlockwise } from "./plan-blockwise.ts";

const nbitsForms: Forms<NbitsOptions> = {
  MatMul: { input: 1, propose: proposeMatMul },
  Gemm: { input: 1, propose: proposeGemm },
  Gather: { input: 0, propose: proposeGather },
};

const bnb4Forms: Forms<Bnb4PassOptions> = { MatMul: { input: 1, propose: proposeBnb4 } };

/** Add, which takes the place of Gemm's C, broadcasts by itself from this opset on. */
const ADD_OPSET = 7;

/**
 * Plans matrices of 2, 4 or 8 bits in blocks: com.microsoft MatMulNBits in place of MatMul and Gemm, and where it is asked
 * for by `opTypes` GatherBlockQuantized in place of Gather. Names and bytes as ONNX Runtime's MatMulNBitsQuantizer makes them,
 * which takes MatMul alone.
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
  const adds = Array.from(made.edits.nodes()).some(({ opType }) => opType === "Add");
  return adds ? { ...made, needs: { opset: ADD_OPSET, what: "Add that broadcasts as numpy does" } } : made;
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

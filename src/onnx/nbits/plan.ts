import type { Model } from "../graph.ts";
import type { Rewritten } from "../rewrite/rewritten.ts";
import type { Scope } from "../scopes.ts";
import type { FloatConstant } from "../weights.ts";
import { type Bnb4Wishes, proposeBnb4 } from "./bnb4.ts";
import { proposeGather } from "./gather.ts";
import { proposeGemm, proposeMatMul } from "./matmul.ts";
import { type Forms, planForms } from "./propose.ts";
import type { NbitsWishes } from "./wishes.ts";

const nbitsForms: Forms<NbitsWishes> = {
  MatMul: { input: 1, propose: proposeMatMul },
  Gemm: { input: 1, propose: proposeGemm },
  Gather: { input: 0, propose: proposeGather },
};

const bnb4Forms: Forms<Bnb4Wishes> = { MatMul: { input: 1, propose: proposeBnb4 } };

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
  wishes: NbitsWishes,
): Rewritten {
  const forms = { forms: nbitsForms, stored: `${wishes.bits}-bit` };
  const made = planForms(model, root, constants, wishes, forms);
  const adds = Array.from(made.edits.nodes()).some(({ opType }) => opType === "Add");
  return adds ? { ...made, needs: { opset: ADD_OPSET, what: "Add that broadcasts as numpy does" } } : made;
}

/** Plans matrices of 4-bit floats (NF4) in blocks: com.microsoft MatMulBnb4 in place of MatMul. */
export function planBnb4(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  wishes: Bnb4Wishes,
): Rewritten {
  return planForms(model, root, constants, wishes, { forms: bnb4Forms, stored: "4-bit float" });
}

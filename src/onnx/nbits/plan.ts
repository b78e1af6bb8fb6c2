import type { Model } from "../graph.ts";
import { viewersOf } from "../rewrite/reasons.ts";
import type { Rewritten } from "../rewrite/rewritten.ts";
import type { Scope } from "../scopes.ts";
import { type FloatConstant, usersOf } from "../weights.ts";
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

/** What ONNX Runtime's tools take. */
const usual: readonly string[] = ["MatMul"];

/**
 * Plans matrices of 2, 4 or 8 bits in blocks: com.microsoft MatMulNBits in place of MatMul, and where they are asked for
 * by `opTypes` in place of Gemm, and GatherBlockQuantized in place of Gather. Names and bytes as ONNX Runtime's
 * MatMulNBitsQuantizer makes them.
 *
 * @throws ArgumentError for a pattern or a type that matches nothing
 */
export function planNbits(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  wishes: NbitsWishes,
): Rewritten {
  const made = planForms(model, root, constants, wishes, { forms: nbitsForms, usual, whyLeft });
  return wishes.opTypes?.includes("Gemm") ? { ...made, needsOpset: ADD_OPSET } : made;
}

/** Plans matrices of 4-bit floats (NF4) in blocks: com.microsoft MatMulBnb4 in place of MatMul. */
export function planBnb4(
  model: Model,
  root: Scope,
  constants: readonly FloatConstant[],
  wishes: Bnb4Wishes,
): Rewritten {
  return planForms(model, root, constants, wishes, { forms: bnb4Forms, usual, whyLeft });
}

function whyLeft(constant: FloatConstant): string {
  const users = usersOf(constant).join(", ");
  const viewers = viewersOf(constant);
  const why = viewers === undefined ? `used by ${users}` : `${users} takes it from ${viewers}`;
  return `${why}: the format "qdq" takes it, from opset 21 on`;
}

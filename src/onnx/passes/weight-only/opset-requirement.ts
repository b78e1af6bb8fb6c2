import { codeTypes } from "../../../dtypes.ts";
import type { RestoredFormat, WeightQuantization } from "../../weights/weight-granularity.ts";

/** What a form takes of a model. */
export interface Requirement {
  readonly opset: number;
  readonly ir: number;
  /** What came with that opset, for errors. */
  readonly what: string;
  /** A form that takes less, where there is one. */
  readonly others?: RestoredFormat | undefined;
}

/** Initializers that are no inputs came with IR 4; 4-bit types with opset 21, which has IR 10. */
const LEAST_IR = 4;
const IR_OF_21 = 10;

/** The least opset and IR version in which a quantization can be written. */
export function requirementOf(
  form: RestoredFormat,
  { dtype, granularity }: Pick<WeightQuantization, "dtype" | "granularity">,
): Requirement {
  if (form === "cast") return { opset: 7, ir: LEAST_IR, what: "Mul that broadcasts as numpy does" };
  const { axis, blockSize } = granularity;
  const { bits } = codeTypes[dtype];
  const others = bits > 4 ? "cast" : undefined;
  if (blockSize !== undefined) return { opset: 21, ir: IR_OF_21, what: "DequantizeLinear in blocks", others };
  if (bits !== 8) return { opset: 21, ir: IR_OF_21, what: `DequantizeLinear of ${dtype}`, others };
  if (axis !== undefined) return { opset: 13, ir: LEAST_IR, what: "DequantizeLinear per channel", others };
  return { opset: 10, ir: LEAST_IR, what: "DequantizeLinear", others };
}

import type { Layout } from "../checkpoint/quantize-checkpoint.ts";
import type { CodeDType, HalfDType } from "../dtypes.ts";
import type { RangeMethod } from "../engine/tensors/range-method.ts";
import type { WorkOptions } from "../node/threads.ts";
import type {
  AccuracyLevel,
  BitWidth,
  BlockAlgorithm,
  QuantizationMode,
  Tool,
  WeightFormat,
} from "../onnx/onnx-options.ts";
import type { Target } from "../onnx/targets/target.ts";
import type { TransformersJsVariant } from "../onnx/transformers-js.ts";

/** Options of every subcommand. */
export interface CommonOptions {
  readonly json?: true;
  readonly quiet?: true;
  readonly debug?: true;
}

export interface WriteOptions extends CommonOptions, WorkOptions {
  readonly output?: string;
  readonly force?: true;
}

export interface QuantizeArguments extends WriteOptions {
  readonly recipe?: "transformers.js";
  readonly only?: TransformersJsVariant[];
  readonly mode?: QuantizationMode;
  readonly dtype?: CodeDType | HalfDType;
  readonly scheme?: "asymmetric" | "symmetric" | "float-offset";
  readonly symmetric?: true;
  readonly asymmetric?: true;
  readonly perChannel?: true;
  readonly perTensor?: true;
  readonly axis?: number;
  readonly blockSize?: number;
  readonly layout?: Layout;
  readonly reduceRange?: true;
  readonly weightRange?: RangeMethod;
  readonly include?: string[];
  readonly exclude?: string[];
  readonly format?: WeightFormat;
  readonly bits?: BitWidth;
  readonly accuracyLevel?: AccuracyLevel;
  readonly algorithm?: BlockAlgorithm;
  readonly io?: "float32" | HalfDType;
  readonly clamp?: true;
  readonly target?: Target;
  readonly opset?: number;
  readonly opTypes?: string[];
  readonly like?: Tool;
  readonly again?: true;
  readonly allowUnchanged?: true;
}

export interface InspectArguments
  extends CommonOptions,
    WorkOptions,
    Pick<QuantizeArguments, "target" | "include" | "exclude" | "opTypes"> {}

export interface CompareArguments extends CommonOptions {
  readonly inputs?: string;
  readonly seed?: number;
  readonly sets?: number;
}

export interface Actions {
  quantize(input: string, options: QuantizeArguments): Promise<void>;
  dequantize(input: string, options: WriteOptions): Promise<void>;
  inspect(input: string, options: InspectArguments): Promise<void>;
  compare(a: string, b: string, options: CompareArguments): Promise<void>;
}

/**
 * Post-training quantization for neural networks.
 *
 * ```ts
 * const engine = await createEngine();
 * const q = engine.quantize({ data, shape: [64, 3, 3, 3] }, { dtype: "int8", axis: 0 });
 * engine.error({ data, shape: [64, 3, 3, 3] }, q).sqnr; // dB
 * ```
 *
 * @packageDocumentation
 */

export type { Entry as QuantizedEntry } from "./checkpoint/convention.ts";
export type { Inspection, Prospects, TensorInspection } from "./checkpoint/inspect.ts";
export type { Layout as CheckpointLayout } from "./checkpoint/quantize.ts";
export type { CompareModelsOptions, ModelComparison, NamedOutput } from "./compare/models.ts";
export type { ExactComparison, FloatComparison, Incomparable, OutputComparison } from "./compare/outputs.ts";
export type { ModelRuntime, ModelSession, ValueSpec } from "./compare/runtime.ts";
export type { Feed, Feeds, ValueDType } from "./compare/values.ts";
export type { OtherShape, WeightComparison, WeightsComparison } from "./compare/weights.ts";
export {
  type BiasOptions,
  createEngine,
  type DequantizedTensor,
  type DequantizeOptions,
  type Engine,
  type EngineOptions,
} from "./core/engine.ts";
export type { QuantizationError } from "./core/error.ts";
export type { Axis, Granularity } from "./core/granularity.ts";
export type { NonFinite, PerGroup, QuantizeOptions, RangeOptions } from "./core/options.ts";
export { isResident, type ResidentQuantizedTensor, type ResidentTensor } from "./core/resident.ts";
export type { Range, SchemeName } from "./core/schemes.ts";
export type { Float16ArrayLike, Float32Tensor, FloatTensor, HalfTensor, QuantizedTensor } from "./core/tensor.ts";
export type { ArrayOf, CodeDType, DType, FloatDType, HalfDType, IntegerDType } from "./dtypes.ts";
export {
  ArgumentError,
  type ErrorTag,
  FileError,
  FormatError,
  isWasmQuantError,
  MemoryError,
  NonFiniteError,
  UnchangedError,
  WasmQuantError,
  WorkerError,
} from "./errors.ts";
export type { FileFormat, FormatName } from "./formats/detect.ts";
export type { FloatName } from "./formats/floats.ts";
export { type NpyDType, type NpyHeader, readNpyHeader, writeNpy } from "./formats/npy.ts";
export {
  readSafetensorsHeader,
  type SafetensorsDType,
  type SafetensorsHeader,
  type SafetensorsItem,
  type SafetensorsTensor,
  writeSafetensors,
} from "./formats/safetensors.ts";
export {
  type ByteSink,
  type ByteSource,
  type BytesSink,
  bytesSink,
  bytesSource,
  type Companion,
} from "./formats/source.ts";
export { compileKernels, type ModuleSource } from "./kernels/load.ts";
export type { BiasDType } from "./layers/bias.ts";
export { type ConvLayout, type ConvOptions, quantizeConv } from "./layers/conv.ts";
export type {
  Layer,
  LayerOptions,
  QuantizedLayer,
  ResidentLayer,
  ResidentQuantizedLayer,
} from "./layers/layer.ts";
export { type LinearLayout, type LinearOptions, quantizeLinear } from "./layers/linear.ts";
export {
  compareModels,
  type DequantizeModelOptions,
  dequantizeModel,
  inspectModel,
  type QuantizeModelOptions,
  quantizeForTransformers,
  quantizeModel,
  type SkippedVariant,
  type TransformersOptions,
  type TransformersReport,
  type VariantReport,
} from "./model.ts";
export type {
  InspectOptions,
  ModelInspection,
  QuantizedWeight,
  ValueInspection,
  WeightInspection,
  WeightProspects,
} from "./onnx/inspect.ts";
export type { Algorithm, Format, Mode, OnnxOptions } from "./onnx/options.ts";
export type { WeightForm } from "./onnx/recipe.ts";
export type { Severity, Target, TargetFinding, Verdict } from "./onnx/targets/target.ts";
export { type Variant, variants } from "./onnx/transformers.ts";
export type { Progress, TaskOptions } from "./task/progress.ts";
export type { ModelReport, TensorReport } from "./task/report.ts";
export type { Workers } from "./task/work.ts";

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

export type { ExpectedErrors, Inspection, TensorInspection } from "./checkpoint/inspect-checkpoint.ts";
export type { QuantizedEntry } from "./checkpoint/plain/plain-layout.ts";
export type { Layout as CheckpointLayout } from "./checkpoint/quantize-checkpoint.ts";
export type { CompareModelsOptions, ModelComparison, NamedOutputComparison } from "./compare/compare-models.ts";
export type {
  ExactComparison,
  FloatComparison,
  OutputComparison,
  UncomparedOutput,
} from "./compare/compare-outputs.ts";
export type { ShapeMismatch, WeightComparison, WeightsComparison } from "./compare/compare-weights.ts";
export type { ModelRuntime, ModelSession, ModelValueInfo } from "./compare/model-runtime.ts";
export type { Feeds, FeedTensor, ValueDType } from "./compare/tensor-values.ts";
export type { ArrayOf, CodeDType, DType, FloatDType, HalfDType, IntegerDType } from "./dtypes.ts";
export {
  type BiasOptions,
  createEngine,
  type DequantizedTensor,
  type DequantizeOptions,
  type Engine,
  type EngineOptions,
} from "./engine/engine.ts";
export type { QuantizationError } from "./engine/measure/quantization-error.ts";
export type { Axis, Granularity } from "./engine/tensors/granularity.ts";
export type {
  CodeOptions,
  FindRangeOptions,
  GivenRange,
  NonFinite,
  PerGroupValues,
  QuantizeOptions,
  RangeOptions,
} from "./engine/tensors/quantize-options.ts";
export type { RangeMethod } from "./engine/tensors/range-method.ts";
export { isResident, type ResidentQuantizedTensor, type ResidentTensor } from "./engine/tensors/resident-tensor.ts";
export type { SchemeName, ValueRange } from "./engine/tensors/schemes.ts";
export type {
  Float16ArrayLike,
  Float32Tensor,
  FloatTensor,
  HalfTensor,
  QuantizedTensor,
} from "./engine/tensors/tensor.ts";
export {
  ArgumentError,
  type ErrorCode,
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
export {
  type ByteSink,
  type ByteSource,
  type BytesSink,
  bytesSink,
  bytesSource,
  type CompanionSink,
} from "./formats/byte-source.ts";
export type { FileType, TensorFileType } from "./formats/detect-file-type.ts";
export type { SafetensorsFloat } from "./formats/float-types.ts";
export { type NpyDType, type NpyHeader, readNpyHeader, writeNpy } from "./formats/npy.ts";
export {
  readSafetensorsHeader,
  type SafetensorsDType,
  type SafetensorsHeader,
  type SafetensorsItem,
  type SafetensorsTensor,
  writeSafetensors,
} from "./formats/safetensors.ts";
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
export { type OptionWord, textOf, type Words } from "./messages.ts";
export {
  compareModels,
  type DequantizeModelOptions,
  dequantizeModel,
  inspectModel,
  type QuantizeModelOptions,
  quantizeForTransformersJs,
  quantizeModel,
  type SkippedVariant,
  type TransformersJsOptions,
  type TransformersJsReport,
  type VariantReport,
} from "./model.ts";
export type {
  ExpectedWeightErrors,
  InspectOptions,
  ModelInspection,
  QuantizedWeight,
  ValueInspection,
  WeightInspection,
} from "./onnx/inspect-onnx.ts";
export type { BlockAlgorithm, OnnxOptions, QuantizationMode, WeightFormat } from "./onnx/onnx-options.ts";
export type { RuntimeNeed } from "./onnx/targets/runtime-versions.ts";
export type { Target, TargetFinding, TargetSeverity, TargetVerdict } from "./onnx/targets/target.ts";
export { type TransformersJsVariant, transformersJsVariants } from "./onnx/transformers-js.ts";
export type { RestoredFormat } from "./onnx/weights/weight-granularity.ts";
export type { ModelReport, Remark, RemarkCode, TensorReport } from "./pipeline/model-report.ts";
export type { TaskOptions, TaskProgress } from "./pipeline/progress.ts";
export type { Workers } from "./pipeline/work.ts";
export { createObserver, Observer } from "./ranges/observer.ts";
export type { ObserverOptions } from "./ranges/observer-options.ts";
export type { GroupState, HistogramState, ObserverState } from "./ranges/observer-state.ts";

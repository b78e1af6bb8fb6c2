import type { Engine } from "../engine/engine.ts";
import { elementsOf } from "../engine/tensors/shape.ts";
import type { FloatTensor, QuantizedTensor } from "../engine/tensors/tensor.ts";
import type { ByteSource } from "../formats/byte-source.ts";
import { decodeHalf } from "../formats/half-arrays.ts";
import { inlinedFunctions } from "../onnx/function-remarks.ts";
import { readModel } from "../onnx/io/decode.ts";
import { loadTensor } from "../onnx/io/load-tensor.ts";
import { bytesOfTensor, TensorFiles } from "../onnx/io/tensor-data.ts";
import type { Model, Tensor } from "../onnx/ir/graph.ts";
import { Scope } from "../onnx/ir/scopes.ts";
import { validateGraph } from "../onnx/ir/validate-graph.ts";
import { foldConstants } from "../onnx/passes/fold/fold-constants.ts";
import { findQuantized, type QuantizedConstant } from "../onnx/weights/find-quantized.ts";
import { findConstants } from "../onnx/weights/find-weights.ts";
import { readQuantized } from "../onnx/weights/read-quantized.ts";
import type { Tracker } from "../pipeline/progress.ts";

/** A weight of both models, side by side. */
export interface WeightComparison {
  readonly name: string;
  readonly shape: readonly number[];
  /** Its type in each of them: float32, int8. */
  readonly a: string;
  readonly b: string;
  /** Signal-to-noise ratio in dB: Infinity where they are equal. */
  readonly sqnr: number;
  /** Largest absolute error. */
  readonly maxAbs: number;
  /** Cosine similarity. */
  readonly cosine: number;
  /** Whether the second model has it transposed. */
  readonly transposed?: true | undefined;
}

export interface WeightsComparison {
  readonly weights: readonly WeightComparison[];
  /** Weights that both have, but laid out otherwise. */
  readonly otherShapes: readonly ShapeMismatch[];
  /** Weights that the other model has not. */
  readonly onlyInA: readonly string[];
  readonly onlyInB: readonly string[];
}

export interface ShapeMismatch {
  readonly name: string;
  readonly a: readonly number[];
  readonly b: readonly number[];
}

/** A model with its tensors at hand. */
export interface OpenModel {
  readonly model: Model;
  readonly files: TensorFiles;
  readonly weights: ReadonlyMap<string, Weight>;
}

/** A float constant, or codes that stand for one. */
type Weight =
  | (Facts & { readonly kind: "float" })
  | (Facts & { readonly kind: "codes"; readonly restored: QuantizedConstant });

interface Facts {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly tensor: Tensor;
}

/**
 * Reads a model's structure and finds its weights: float constants of two or more dimensions, and codes with scales. A name
 * that stands for several weights in subgraphs stands for the first. Functions are inlined in what is read.
 *
 * @throws FormatError
 */
export async function openModel(source: ByteSource): Promise<OpenModel> {
  const model = await readModel(source);
  validateGraph(source.name, model);
  const files = await TensorFiles.open(source, model);
  // One of them may be made of the other's functions.
  await inlinedFunctions(model, files, "all", "");
  // Weights that one of the models computes in each run may be constants of the other.
  await foldConstants(model, files, { bitsAfter: () => 0, floatBits: 32 });
  const root = new Scope(source.name, model.graph);
  const weights = new Map<string, Weight>();
  const restored = findQuantized(root);
  const parts = new Set(restored.flatMap(({ scale, zeroPoint }) => [scale, zeroPoint]));
  for (const weight of restored) {
    const { name, shape, dtype, codes } = weight;
    if (!weights.has(name)) weights.set(name, { kind: "codes", shape, dtype, tensor: codes, restored: weight });
  }
  for (const { name, tensor } of findConstants(root, new Map())) {
    if (
      tensor.type === "float64" ||
      tensor.shape.length < 2 ||
      elementsOf(tensor.shape) === 0 ||
      parts.has(tensor) ||
      weights.has(name)
    )
      continue;
    weights.set(name, { kind: "float", shape: tensor.shape, dtype: tensor.type ?? "?", tensor });
  }
  return { model, files, weights };
}

/** Bytes of tensors that a comparison goes through. */
export function bytesToCompare(a: OpenModel, b: OpenModel): number {
  return Array.from(a.weights).reduce(
    (sum, [name, { tensor }]) => sum + (b.weights.has(name) ? bytesOfTensor(tensor) : 0),
    0,
  );
}

/** Compares the weights that go by the same name in both models and have the same shape. */
export async function compareWeights(
  engine: Engine,
  a: OpenModel,
  b: OpenModel,
  tracker: Tracker,
): Promise<WeightsComparison> {
  const weights: WeightComparison[] = [];
  const otherShapes: ShapeMismatch[] = [];
  for (const [name, left] of a.weights) {
    const right = b.weights.get(name);
    if (!right) continue;
    if (!isSame(left.shape, right.shape) && !isTurned(left, right)) {
      otherShapes.push({ name, a: left.shape, b: right.shape });
      continue;
    }
    await tracker.at(name);
    weights.push(await compareOne(engine, name, { files: a.files, weight: left }, { files: b.files, weight: right }));
    tracker.advance(bytesOfTensor(left.tensor));
  }
  const rest = (one: OpenModel, other: OpenModel) => [...one.weights.keys()].filter((name) => !other.weights.has(name));
  return { weights, otherShapes, onlyInA: rest(a, b), onlyInB: rest(b, a) };
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.join() === b.join();
}

/** Codes of a product's matrix do not tell how the weight lay: [K, N], or [N, K] as a Gemm may have it. */
function isTurned(a: Weight, b: Weight): boolean {
  const isCodes = a.kind === "codes" || b.kind === "codes";
  return isCodes && a.shape.length === 2 && isSame(a.shape, [...b.shape].reverse());
}

interface Side {
  readonly files: TensorFiles;
  readonly weight: Weight;
}

async function compareOne(engine: Engine, name: string, a: Side, b: Side): Promise<WeightComparison> {
  const values = await valuesOf(engine, name, a);
  const left = "scale" in values ? engine.dequantize(values) : values;
  const right = await valuesOf(engine, name, b);
  const facts = { name, shape: a.weight.shape, a: a.weight.dtype, b: b.weight.dtype };
  const straight = isSame(a.weight.shape, b.weight.shape) ? engine.error(left, right) : undefined;
  // ONNX Runtime's tool transposes weights of Gemm under their own name, which the shape of a square one does not show.
  const mayBeTurned = straight === undefined || (straight.cosine < UNLIKE && isSquare(facts.shape));
  const turned = mayBeTurned ? engine.error(transposed(left), right) : undefined;
  const best = turned && (straight === undefined || turned.cosine > straight.cosine) ? turned : straight!;
  const { sqnr, maxAbs, cosine } = best;
  return { ...facts, sqnr, maxAbs, cosine, ...(best === turned && { transposed: true }) };
}

/** Below this, what should be the same weight is not. */
const UNLIKE = 0.5;

function isSquare(shape: readonly number[]): boolean {
  return shape.length === 2 && shape[0] === shape[1];
}

function transposed(tensor: FloatTensor): FloatTensor {
  const data = floatsOf(tensor);
  const [rows = 0, columns = 0] = tensor.shape;
  const values = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) values[j * rows + i] = data[i * columns + j]!;
  return { shape: [columns, rows], data: values };
}

function floatsOf(tensor: FloatTensor): Float32Array {
  if (tensor.dtype === "float16") return decodeHalf(tensor.data as Uint16Array);
  if (tensor.dtype === "bfloat16")
    return new Float32Array(Uint32Array.from(tensor.data as Uint16Array, (x) => x << 16).buffer);
  return tensor.data as Float32Array;
}

async function valuesOf(engine: Engine, name: string, { files, weight }: Side): Promise<FloatTensor | QuantizedTensor> {
  if (weight.kind === "codes") return readQuantized(engine, files, weight.restored);
  return loadTensor(files, { name, tensor: weight.tensor });
}

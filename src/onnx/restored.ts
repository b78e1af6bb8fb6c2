import type { Granularity } from "../core/granularity.ts";
import { elementsOf } from "../core/shape.ts";
import type { QuantizedTensor } from "../core/tensor.ts";
import { type ArrayOf, type CodeDType, codeTypes } from "../dtypes.ts";
import type { ArrayType } from "../formats/floats.ts";
import { viewOf } from "../formats/floats.ts";
import { widenHalves } from "../formats/halves.ts";
import type { TensorFiles } from "./data.ts";
import { attributeOf, type Node, type Tensor } from "./graph.ts";
import type { Scope } from "./scopes.ts";

/** A weight that a model holds as codes: written by this engine, by ONNX Runtime's tool, or behind DequantizeLinear. */
export interface RestoredWeight {
  /** What the float weight is called, or was. */
  readonly name: string;
  readonly codes: Tensor;
  readonly scale: Tensor;
  readonly zeroPoint: Tensor | undefined;
  readonly granularity: Granularity;
}

/** Finds the constants of a model that are codes with scales beside them. */
export function findRestored(root: Scope): RestoredWeight[] {
  const found = new Map<Tensor, RestoredWeight>();
  const blockSizes = new Map<Tensor, number>();
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      if (node.opType === "Gather") {
        const size = /^block_of_(\d+)_in_/.exec(node.inputs[1] ?? "")?.[1];
        const spread = size === undefined ? undefined : constantBehind(scope, node.inputs[0]);
        if (spread) blockSizes.set(spread, Number(size));
      }
      if (node.opType !== "DequantizeLinear") continue;
      const [codes, scale, zeroPoint] = [0, 1, 2].map((i) => constantBehind(scope, node.inputs[i]));
      if (!codes || !scale || !scaleTypes.has(scale.type ?? "") || !isCodes(codes) || found.has(codes)) continue;
      const granularity = granularityFrom(node, codes, scale);
      found.set(codes, { name: nameOf(codes.name, node.outputs[0]), codes, scale, zeroPoint, granularity });
    }
  }
  for (const scope of root.all()) {
    for (const codes of scope.graph.initializers) {
      if (!codes.name.endsWith(SUFFIX) || !isCodes(codes) || found.has(codes)) continue;
      const name = codes.name.slice(0, -SUFFIX.length);
      const scale = constantBehind(scope, `${name}_scale`);
      if (!scale || !scaleTypes.has(scale.type ?? "")) continue;
      const granularity = granularityOf(codes.shape, scale.shape, blockSizes.get(scale));
      const zeroPoint = constantBehind(scope, `${name}_zero_point`);
      if (granularity) found.set(codes, { name, codes, scale, zeroPoint, granularity });
    }
  }
  return [...found.values()];
}

/** A constant as it lies, or the one whose rows a Gather takes. */
function constantBehind(scope: Scope, name: string | undefined): Tensor | undefined {
  const definition = name ? scope.find(name) : undefined;
  if (definition?.kind === "constant") return definition.constant.tensor;
  if (definition?.kind !== "node" || definition.node.opType !== "Gather") return undefined;
  const table = definition.scope.find(definition.node.inputs[0] ?? "");
  return table?.kind === "constant" ? table.constant.tensor : undefined;
}

/** As DequantizeLinear says; behind a Gather its axis is counted from the end, or stands before the gathered one. */
function granularityFrom(node: Node, codes: Tensor, scale: Tensor): Granularity {
  const blockSize = attributeOf(node, "block_size", "int") || undefined;
  if (elementsOf(scale.shape) === 1 && blockSize === undefined) return {};
  const axis = attributeOf(node, "axis", "int") ?? 1;
  return { axis: axis < 0 ? axis + codes.shape.length : axis, blockSize };
}

const SUFFIX = "_quantized";

function nameOf(codes: string, restored = ""): string {
  return codes.endsWith(SUFFIX) ? codes.slice(0, -SUFFIX.length) : restored;
}

const scaleTypes = new Set(["float32", "float16", "bfloat16"]);

function isCodes({ type }: Tensor): boolean {
  return type !== undefined && type in codeTypes;
}

/** How scales of a shape stand beside codes of another: as numpy broadcasts them, or one for each of the first axis. */
function granularityOf(
  shape: readonly number[],
  scales: readonly number[],
  blockSize: number | undefined,
): Granularity | undefined {
  if (elementsOf(scales) === 1) return {};
  const full = [...Array<number>(Math.max(shape.length - scales.length, 0)).fill(1), ...scales];
  if (full.length !== shape.length) return undefined;
  if (blockSize !== undefined) {
    const axis = full.findIndex((d, i) => d !== shape[i]);
    return { axis: axis < 0 ? undefined : axis, blockSize };
  }
  // One for each output channel, as QLinearConv has them, stands in no axis' place.
  if (scales.length === 1 && shape.length > 2 && scales[0] === shape[0]) return { axis: 0 };
  const axes = full.flatMap((d, i) => (d === 1 ? [] : [i]));
  if (axes.length > 0 && axes.every((axis) => full[axis] === shape[axis])) {
    const [first = 0, last = first] = [axes[0], axes.at(-1)];
    return { axis: first === last ? first : [first, last] };
  }
  return scales.length === 1 && scales[0] === shape[0] ? { axis: 0 } : undefined;
}

/** Reads a restored weight's parts. */
export async function readRestored(
  files: TensorFiles,
  { codes, scale, zeroPoint, granularity }: RestoredWeight,
): Promise<QuantizedTensor<CodeDType>> {
  const dtype = codes.type as CodeDType;
  const Codes = codeTypes[dtype].array as ArrayType<ArrayOf<CodeDType>>;
  const data = viewOf(Codes, await files.read(codes));
  const scales = await readFloats(files, scale);
  const zeros = zeroPoint ? await readZeros(files, zeroPoint, scales.length) : new Int32Array(scales.length);
  return { dtype, shape: codes.shape, data, scale: scales, zeroPoint: zeros, scheme: "affine", ...granularity };
}

async function readFloats(files: TensorFiles, tensor: Tensor): Promise<Float32Array> {
  const bytes = await files.read(tensor);
  if (tensor.type === "float16") return widenHalves(viewOf(Uint16Array, bytes));
  if (tensor.type === "bfloat16")
    return new Float32Array(Uint32Array.from(viewOf(Uint16Array, bytes), (x) => x << 16).buffer);
  return viewOf(Float32Array, bytes);
}

/** One for all stands for each. */
async function readZeros(files: TensorFiles, tensor: Tensor, count: number): Promise<Int32Array> {
  const { bits, signed, array } = codeTypes[tensor.type as CodeDType];
  const bytes = await files.read(tensor);
  const elements = elementsOf(tensor.shape);
  const zeros =
    bits === 4
      ? Int32Array.from({ length: elements }, (_, i) => nibble(bytes[i >> 1]! >> (4 * (i % 2)), signed))
      : Int32Array.from(viewOf(array as ArrayType<Int8Array>, bytes));
  return elements === count ? zeros : new Int32Array(count).fill(zeros[0] ?? 0);
}

function nibble(bits: number, signed: boolean): number {
  return signed ? ((bits & 15) << 28) >> 28 : bits & 15;
}

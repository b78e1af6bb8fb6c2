import type { Granularity } from "../core/granularity.ts";
import { elementsOf } from "../core/shape.ts";
import type { QuantizedTensor } from "../core/tensor.ts";
import { type ArrayOf, type CodeDType, codeTypes } from "../dtypes.ts";
import type { ArrayType } from "../formats/floats.ts";
import { viewOf } from "../formats/floats.ts";
import type { TensorFiles } from "./data.ts";
import { attributeOf, type Tensor } from "./graph.ts";
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
  for (const scope of root.all()) {
    const constant = (name: string | undefined) => {
      const definition = name ? scope.find(name) : undefined;
      return definition?.kind === "constant" ? definition.constant.tensor : undefined;
    };
    for (const node of scope.graph.nodes) {
      if (node.opType !== "DequantizeLinear") continue;
      const [codes, scale, zeroPoint] = [0, 1, 2].map((i) => constant(node.inputs[i]));
      if (!codes || !scale || !isCodes(codes) || found.has(codes)) continue;
      const blockSize = attributeOf(node, "block_size", "int") || undefined;
      const axis = attributeOf(node, "axis", "int") ?? 1;
      const granularity = elementsOf(scale.shape) === 1 && blockSize === undefined ? {} : { axis, blockSize };
      found.set(codes, { name: nameOf(codes.name, node.outputs[0]), codes, scale, zeroPoint, granularity });
    }
    for (const codes of scope.graph.initializers) {
      if (!codes.name.endsWith(SUFFIX) || !isCodes(codes) || found.has(codes)) continue;
      const name = codes.name.slice(0, -SUFFIX.length);
      const scale = constant(`${name}_scale`);
      if (!scale) continue;
      const granularity = granularityOf(codes.shape, scale.shape, blockSizeIn(scope, scale.name));
      if (granularity) found.set(codes, { name, codes, scale, zeroPoint: constant(`${name}_zero_point`), granularity });
    }
  }
  return [...found.values()];
}

const SUFFIX = "_quantized";

function nameOf(codes: string, restored = ""): string {
  return codes.endsWith(SUFFIX) ? codes.slice(0, -SUFFIX.length) : restored;
}

function isCodes({ type }: Tensor): boolean {
  return type !== undefined && type in codeTypes;
}

/** The block size by which scales are spread: the name of the index they are gathered with says it. */
function blockSizeIn(scope: Scope, scale: string): number | undefined {
  for (const { graph } of scope.all()) {
    for (const { opType, inputs } of graph.nodes) {
      const size =
        opType === "Gather" && inputs[0] === scale ? /^block_of_(\d+)_in_/.exec(inputs[1] ?? "")?.[1] : undefined;
      if (size !== undefined) return Number(size);
    }
  }
  return undefined;
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
  if (tensor.type === "float32") return viewOf(Float32Array, bytes);
  throw new Error(`scales of ${tensor.type}`);
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

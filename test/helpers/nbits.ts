import { graphsIn, integers, type ReadNode, type ReadTensor } from "./onnx-read.ts";
import { halvesWidened } from "./onnx-values.ts";
import { typeCodes } from "./wire-fields.ts";

/** A matrix of MatMulNBits or a table of GatherBlockQuantized, restored one value at a time from what the file holds. */
export interface RestoredMatrix {
  readonly node: ReadNode;
  readonly bits: number;
  readonly blockSize: number;
  /** [N, K]: a row for each column of the product, or of the table. */
  readonly n: number;
  readonly k: number;
  readonly values: Float32Array;
  /** The scale of each value, its error's measure. */
  readonly scales: Float32Array;
}

/** All of a model, in the order of its nodes. */
export function matricesIn(bytes: Uint8Array): RestoredMatrix[] {
  const graphs = graphsIn(bytes);
  const tensors = new Map(graphs.flatMap(({ initializers }) => initializers.map((each) => [each.name, each] as const)));
  return graphs.flatMap(({ nodes }) =>
    nodes.flatMap((node) => {
      if (node.op === "MatMulNBits") return [restored(node, [1, 2, 3], tensors)];
      return node.op === "GatherBlockQuantized" ? [restored(node, [0, 2, 3], tensors)] : [];
    }),
  );
}

export function intOf(node: ReadNode, name: string): number | undefined {
  const attribute = node.attributes.get(name);
  return attribute && integers(attribute, 3)[0];
}

function restored(node: ReadNode, places: readonly number[], tensors: ReadonlyMap<string, ReadTensor>): RestoredMatrix {
  const [codes, scaleTensor, zeros] = places.map((place) => tensors.get(node.inputs[place] ?? ""));
  const bits = intOf(node, "bits")!;
  const blockSize = intOf(node, "block_size")!;
  const [n = 0] = codes!.shape;
  const row = codes!.raw.length / n;
  const k = intOf(node, "K") ?? (row * 8) / bits;
  const blocks = Math.ceil(k / blockSize);
  const zeroRow = Math.ceil((blocks * bits) / 8);
  const code = (raw: Uint8Array, start: number, i: number) =>
    (raw[start + ((i * bits) >> 3)]! >> ((i * bits) & 7)) & (2 ** bits - 1);
  const block = scalesOf(scaleTensor!);
  const values = new Float32Array(n * k);
  const scales = values.map((_, i) => block[Math.floor(i / k) * blocks + Math.floor((i % k) / blockSize)]!);
  for (let i = 0; i < values.length; i++) {
    const [r, c] = [Math.floor(i / k), i % k];
    const zero = zeros ? code(zeros.raw, r * zeroRow, Math.floor(c / blockSize)) : 2 ** (bits - 1);
    values[i] = (code(codes!.raw, r * row, c) - zero) * scales[i]!;
  }
  return { node, bits, blockSize, n, k, values, scales };
}

function scalesOf({ raw, typeCode }: ReadTensor): Float32Array {
  const bytes = Uint8Array.from(raw).buffer;
  if (typeCode === typeCodes.float16) return halvesWidened(new Uint16Array(bytes));
  return new Float32Array(bytes);
}

/** `[n, k]` as `[k, n]`. */
export function turned({ values, n, k }: Pick<RestoredMatrix, "values" | "n" | "k">): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % n) * k + Math.floor(i / n)]!);
}

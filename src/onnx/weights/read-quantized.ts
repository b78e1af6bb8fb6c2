import { type ArrayOf, type CodeDType, codeTypes } from "../../dtypes.ts";
import type { Engine } from "../../engine/engine.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import type { FloatTensor, QuantizedTensor } from "../../engine/tensors/tensor.ts";
import type { ArrayType } from "../../formats/float-types.ts";
import { viewOf } from "../../formats/float-types.ts";
import { decodeHalf } from "../../formats/half-arrays.ts";
import type { TensorFiles } from "../io/tensor-data.ts";
import type { Tensor } from "../ir/graph.ts";
import type { QuantizedConstant, StoredForm } from "./find-quantized.ts";

/** Reads what a weight that is stored as codes stands for, laid out as it was. */
export async function readQuantized(
  engine: Engine,
  files: TensorFiles,
  weight: QuantizedConstant,
): Promise<FloatTensor | QuantizedTensor<CodeDType>> {
  const { shape, stored } = weight;
  switch (stored.kind) {
    case "integer":
      return readIntegerCodes(engine, files, weight, stored);
    case "matrix":
      return { shape, data: await readMatrix(engine, files, weight, stored) };
    case "bnb4": {
      const codes = await files.read(weight.codes);
      const absmax = await readFloats(files, weight.scale);
      return { shape, data: engine.dequantizeBnb4({ codes, absmax }, { ...stored, layout: "KN" }) };
    }
  }
}

type Of<K extends StoredForm["kind"]> = Extract<StoredForm, { kind: K }>;

async function readIntegerCodes(
  engine: Engine,
  files: TensorFiles,
  { codes, scale, zeroPoint, shape }: QuantizedConstant,
  { granularity, swapsLast }: Of<"integer">,
): Promise<QuantizedTensor<CodeDType>> {
  const dtype = codes.type as CodeDType;
  const Codes = codeTypes[dtype].array as ArrayType<ArrayOf<CodeDType>>;
  const bytes = await files.read(codes);
  const data = viewOf(Codes, swapsLast ? engine.transposeLast(bytes, codes.shape) : bytes);
  const scales = await readFloats(files, scale);
  const zeros = zeroPoint ? await readZeros(files, zeroPoint, scales.length) : new Int32Array(scales.length);
  return { dtype, shape, data, scale: scales, zeroPoint: zeros, scheme: "asymmetric", ...granularity };
}

async function readMatrix(
  engine: Engine,
  files: TensorFiles,
  { codes, scale, zeroPoint }: QuantizedConstant,
  { isTable, ...form }: Of<"matrix">,
): Promise<Float32Array> {
  const { n, k, bits, blockSize } = form;
  const bytes = await files.read(codes);
  // Rows of a table end where their values do, those of a matrix with their last block.
  const row = (Math.ceil(k / blockSize) * blockSize * bits) / 8;
  const isShort = bytes.length < n * row;
  const full = isShort ? new Uint8Array(n * row) : bytes;
  for (let i = 0; isShort && i < n; i++) {
    full.set(bytes.subarray((i * bytes.length) / n, ((i + 1) * bytes.length) / n), i * row);
  }
  const zeros = zeroPoint && (zeroPoint.type === "uint8" ? files.read(zeroPoint) : readFloats(files, zeroPoint));
  const parts = { codes: full, scale: await readFloats(files, scale), zeroPoint: await zeros };
  return engine.dequantizeMatrix(parts, { n, k, bits, blockSize, layout: isTable ? "NK" : "KN" });
}

async function readFloats(files: TensorFiles, tensor: Tensor): Promise<Float32Array> {
  const bytes = await files.read(tensor);
  if (tensor.type === "float16") return decodeHalf(viewOf(Uint16Array, bytes));
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

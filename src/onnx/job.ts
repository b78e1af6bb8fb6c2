import type { Engine } from "../core/engine.ts";
import type { NonFinite } from "../core/options.ts";
import { isResident, type ResidentTensor } from "../core/resident.ts";
import { bytesOf, type FloatTensor } from "../core/tensor.ts";
import { codeTypes, type FloatDType } from "../dtypes.ts";
import { FormatError, isWasmQuantError } from "../errors.ts";
import { type FloatName, floatTensorOf } from "../formats/floats.ts";
import { nameFile } from "../task/blame.ts";
import type { TensorFiles } from "./data.ts";
import type { Job } from "./forms/draft.ts";
import type { Tensor } from "./graph.ts";
import type { Addresses } from "./write.ts";

/** What a weight lost. */
export interface Loss {
  readonly sqnr: number;
  readonly maxAbs: number;
}

/**
 * Quantizes one weight and writes codes, scales and zero points to their places.
 *
 * @throws FormatError naming file and weight
 */
export async function runJob(
  engine: Engine,
  files: TensorFiles,
  { constant, recipe, codes, scale, zeroPoint }: Job,
  nonFinite: NonFinite,
  addresses: Addresses,
): Promise<Loss> {
  const { dtype, scheme, granularity, reduceRange } = recipe;
  const values = await loadTensor(engine, files, constant.tensor, constant.name);
  try {
    const q = nameFile(files.source.name, constant.name, () =>
      engine.quantize(values, { dtype, scheme, reduceRange, nonFinite, ...granularity }),
    );
    try {
      const { sqnr, maxAbs } = engine.error(values, q);
      await addresses.write(codes, bytesOf(q.data));
      await addresses.write(scale, bytesOf(q.scale));
      if (zeroPoint) await addresses.write(zeroPoint, zeroPointBytes(recipe.dtype, q.zeroPoint));
      return { sqnr, maxAbs };
    } finally {
      if (isResident(q)) q.dispose();
    }
  } finally {
    if (isResident(values)) values.dispose();
  }
}

/** Zero points are of the codes' type, 4-bit ones two to a byte like them. */
function zeroPointBytes(dtype: Job["recipe"]["dtype"], zeroPoint: Int32Array): Uint8Array {
  const { bits, array } = codeTypes[dtype];
  if (bits !== 4) return bytesOf(array.from(zeroPoint));
  const bytes = new Uint8Array(Math.ceil(zeroPoint.length / 2));
  zeroPoint.forEach((zero, i) => {
    bytes[i >> 1]! |= (zero & 15) << (4 * (i % 2));
  });
  return bytes;
}

const floatNames: Readonly<Partial<Record<string, FloatName>>> = {
  float16: "F16",
  bfloat16: "BF16",
  float32: "F32",
  float64: "F64",
};

/**
 * A float tensor of a model where the kernels can reach it: in linear memory if the file can be read to there and it has
 * room. Residents are the caller's to dispose of.
 */
export async function loadTensor(
  engine: Engine,
  files: TensorFiles,
  tensor: Tensor,
  name: string,
): Promise<FloatTensor | ResidentTensor> {
  const { type, shape } = tensor;
  const place = files.placeOf(tensor);
  if (place?.source.read && type !== "float64") {
    const resident = reserve(engine, type as FloatDType, shape);
    if (resident) {
      resident.name = name;
      const { start, end, source } = place;
      const filled = await source.read!(start, bytesOf(resident.data));
      if (filled === end - start) return resident;
      resident.dispose();
      throw new FormatError(source.name, `bytes ${start} to ${end} gave ${filled} bytes, not ${end - start}`, name);
    }
  }
  return floatTensorOf(files.source.name, await files.read(tensor), { name, dtype: floatNames[type!]!, shape });
}

function reserve(engine: Engine, dtype: FloatDType, shape: readonly number[]): ResidentTensor | undefined {
  try {
    return engine.reserve(dtype, shape);
  } catch (error) {
    if (isWasmQuantError(error, "memory")) return undefined;
    throw error;
  }
}

import { type ArrayOf, type DType, dtypes } from "../../src/dtypes.ts";
import { bytesOf } from "../../src/engine/tensors/tensor.ts";
import { type ElementType, elementTypes, type OnnxTensor } from "./onnx.ts";
import { unpacked } from "./reference.ts";

/** The types that the engine has under the same name. */
export function isEngineType(type: ElementType): type is ElementType & DType {
  return type in dtypes;
}

/** Elements as the engine takes them: half floats as their bits, 4-bit codes packed. */
export function arrayOf<D extends DType>(tensor: OnnxTensor, type: D): ArrayOf<D> {
  if (tensor.type !== type) throw new Error(`${tensor.name} is ${tensor.type}, not ${type}`);
  // A copy, as what a file holds need not start where such elements may; not by slice(), which copies no Buffer.
  return new dtypes[type].array(Uint8Array.from(tensor.bytes).buffer) as unknown as ArrayOf<D>;
}

/** Floats of any width, widened. */
export function floatsOf(tensor: OnnxTensor): Float32Array {
  if (tensor.type === "float16") return halvesWidened(arrayOf(tensor, "float16"));
  if (tensor.type === "bfloat16") {
    return new Float32Array(Uint32Array.from(arrayOf(tensor, "bfloat16"), (bits) => bits << 16).buffer);
  }
  return arrayOf(tensor, "float32");
}

/** The values of float16 bits. */
export function halvesWidened(halves: Uint16Array): Float32Array {
  return Float32Array.from(halves, (bits) => {
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 1023) / 1024;
    const sign = bits & 0x8000 ? -1 : 1;
    if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    return sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
  });
}

/** Whole numbers of any width, one by one. */
export function codesOf(tensor: OnnxTensor): Int32Array {
  if (!isEngineType(tensor.type)) throw new Error(`${tensor.name} is ${tensor.type}, not a type of codes`);
  const elements = tensor.shape.reduce((a, b) => a * b, 1);
  return Int32Array.from(unpacked(tensor.type, arrayOf(tensor, tensor.type), elements));
}

/** Codes as they are stored: two to a byte if 4 bits wide, low nibble first. */
export function storedCodes(type: ElementType & DType, codes: ArrayLike<number>): Uint8Array {
  if (elementTypes[type].bits !== 4) return bytesOf(dtypes[type].array.from(codes));
  const bytes = new Uint8Array(Math.ceil(codes.length / 2));
  for (let i = 0; i < codes.length; i++) bytes[i >> 1]! |= (codes[i]! & 15) << (4 * (i % 2));
  return bytes;
}

/** Where two runs of bytes part ways, if they do. */
export function differenceOf(got: ArrayBufferView, want: ArrayBufferView): string | undefined {
  const [a, b] = [bytesOf(got), bytesOf(want)];
  if (a.length !== b.length) return `${a.length} bytes, not ${b.length}`;
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at < 0 ? undefined : `byte ${at} is ${a[at]}, not ${b[at]}`;
}

/**
 * The storage types, in one table: width, range and the typed array that holds them. 4-bit types are packed two to a
 * byte, low nibble first, flat over the whole tensor; half-precision floats are held as their 16 bits.
 */
export interface FloatType {
  readonly kind: "float";
  readonly bits: 16 | 32;
  /** The largest finite value. */
  readonly largest: number;
  /** The bits of +Infinity: all of the exponent's. */
  readonly infinity: number;
  readonly array: typeof Float32Array | typeof Uint16Array;
}

export interface IntegerType {
  readonly kind: "integer";
  readonly bits: 4 | 8 | 16 | 32;
  readonly signed: boolean;
  readonly min: number;
  readonly max: number;
  readonly array: typeof Int8Array | typeof Uint8Array | typeof Int16Array | typeof Uint16Array | typeof Int32Array;
}

export const floatTypes = {
  float32: { kind: "float", bits: 32, largest: 3.4028234663852886e38, infinity: 0x7f800000, array: Float32Array },
  float16: { kind: "float", bits: 16, largest: 65504, infinity: 0x7c00, array: Uint16Array },
  bfloat16: { kind: "float", bits: 16, largest: 3.3895313892515355e38, infinity: 0x7f80, array: Uint16Array },
} as const satisfies Record<string, FloatType>;

/** What weights and activations are quantized to. */
export const codeTypes = {
  int8: { kind: "integer", bits: 8, signed: true, min: -128, max: 127, array: Int8Array },
  uint8: { kind: "integer", bits: 8, signed: false, min: 0, max: 255, array: Uint8Array },
  int16: { kind: "integer", bits: 16, signed: true, min: -32768, max: 32767, array: Int16Array },
  uint16: { kind: "integer", bits: 16, signed: false, min: 0, max: 65535, array: Uint16Array },
  int4: { kind: "integer", bits: 4, signed: true, min: -8, max: 7, array: Uint8Array },
  uint4: { kind: "integer", bits: 4, signed: false, min: 0, max: 15, array: Uint8Array },
} as const satisfies Record<string, IntegerType>;

/** int32 is for biases: their scale is given, never searched for. */
export const integerTypes = {
  ...codeTypes,
  int32: { kind: "integer", bits: 32, signed: true, min: -2147483648, max: 2147483647, array: Int32Array },
} as const satisfies Record<string, IntegerType>;

export type FloatDType = keyof typeof floatTypes;
/** Floats of 16 bits. */
export type HalfDType = Exclude<FloatDType, "float32">;
export type CodeDType = keyof typeof codeTypes;
export type IntegerDType = keyof typeof integerTypes;
export type DType = FloatDType | IntegerDType;

/** The typed arrays, spelt out: taken from the constructors they would be tied to one kind of buffer. */
interface Arrays {
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int8: Int8Array;
  uint8: Uint8Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int4: Uint8Array;
  uint4: Uint8Array;
  int32: Int32Array;
}

/** The typed array that holds tensors of type `D`. */
export type ArrayOf<D extends DType> = Arrays[D];

export const dtypes: Readonly<Record<DType, FloatType | IntegerType>> = { ...floatTypes, ...integerTypes };

/** Bytes that `elements` values of `dtype` take; an odd 4-bit tail takes a whole byte. */
export function byteLengthOf(dtype: DType, elements: number): number {
  return Math.ceil((elements * dtypes[dtype].bits) / 8);
}

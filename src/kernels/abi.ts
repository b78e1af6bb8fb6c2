/**
 * The ABI of kernels.wasm and of its scalar reference, as one list and one type. Pointers are byte addresses in linear
 * memory, lengths are elements. Kernels allocate nothing, throw nothing and check nothing.
 *
 * Every kernel over groups takes `[outer][groups][inner]`: `inner` values that follow one another share parameter
 * `o * step + g`; the last group of each outer holds `last` values. `step` is 0 when the parameters come round again for
 * each outer (channels), or the parameters per outer (blocks). The `Columns` form is `[outer][groups][inner][columns]`
 * with a parameter for each column, `o * step + g * columns + c`: what channel-last data needs.
 */
export type Rows = [outer: number, groups: number, inner: number, last: number, step: number];
export type Columns = [outer: number, groups: number, inner: number, last: number, step: number, columns: number];

type Both<Name extends string, Head extends number[], Result = void> = {
  [N in Name]: (...args: [...Head, ...Rows]) => Result;
} & { [N in `${Name}Columns`]: (...args: [...Head, ...Columns]) => Result };

/** Storage as kernels name it. 4-bit codes are worked on as one byte each, clamped to `highest`, and packed apart. */
export type CodeName = "I8" | "U8" | "I16" | "U16";

export type Quantize = [src: number, dst: number, scales: number, zeroPoints: number, lowest: number, highest: number];
export type FloatOffset = [
  src: number,
  dst: number,
  ranges: number,
  mins: number,
  lowest: number,
  highest: number,
  levels: number,
  base: number,
];

/**
 * Runs of `inner` values (`last`), their parameters found on the way: assembly/scheme-parameters.ts has the rules. 4-bit
 * codes are packed, two to a byte, low nibble first, the first code of a call in a low nibble: `inner` is even where groups
 * follow, the elements of an outer are even where outers follow. Every run has a value.
 */
export type Blocks = [
  src: number,
  dst: number,
  scales: number,
  zeroPoints: number,
  /** 0 asymmetric, 1 symmetric, 2 signed extreme. */
  rule: number,
  qmin: number,
  qmax: number,
  ...shape: Rows,
];

/** The widths of codes that matrices are quantized to in blocks. */
export type BlockBits = 2 | 4 | 8;

/** A matrix, the size of its blocks, and the width of codes. */
type BlockedMatrix = [n: number, k: number, stride: number, size: number, bits: number];

/**
 * A matrix [n, k] in blocks of `size` along k (assembly/quantize-nbits.ts says how codes, scales and zero points lie), its
 * rows `stride` elements apart; in the `Columns` form n columns of [k, stride]. `sums` takes 64 bytes for each of n,
 * `scratch` 192 bytes and 4 * size elements, in the `Columns` form n * size.
 */
export type Matrix = [
  src: number,
  dst: number,
  scales: number,
  zeroPoints: number,
  sums: number,
  scratch: number,
  ...shape: BlockedMatrix,
];

type InBlocks<Name extends string, Tail extends number[] = [], Result = void> = {
  [N in `${Name}${"" | "Columns"}`]: (...args: [...Matrix, ...Tail]) => Result;
};

/**
 * A matrix in the same blocks; takes float32 scales and zero points for it, [n, blocks] both. `scratch` takes 4 * size
 * elements. `rounding` as `quantizeF32N` takes it.
 */
export type Search = [
  src: number,
  scales: number,
  zeroPoints: number,
  scratch: number,
  ...shape: BlockedMatrix,
  symmetric: number,
  rounding: number,
];

type Searches = { [N in `${"mse" | "hqq"}F32${"" | "Columns"}`]: (...args: Search) => void };

/** Over groups. */
type GroupKernels =
  /** Folds extremes into mins and maxs; not 0 if NaN or an infinity was met. */
  Both<"rangeF32", [src: number, mins: number, maxs: number], number> &
    Both<"absMaxF32", [src: number, maxs: number], number> &
    /** The same over the finite values alone. */
    Both<"rangeFiniteF32", [src: number, mins: number, maxs: number]> &
    /**
     * Adds to uint32 counts, `bins` of them for each parameter, an even number: of value x in bin `floor(x * scale) + bins / 2`,
     * or in the first or the last. A scale is a power of two.
     */
    Both<"histogramF32", [src: number, tables: number, scales: number, bins: number]> &
    /** Adds to float64 sums of squared error in multiples of the scale, one for each parameter: assembly/rounding-error.ts. */
    Both<
      "roundingErrorF32",
      [src: number, out: number, scales: number, mins: number, zeroPoints: number, lowest: number, highest: number]
    > &
    /** Asymmetric: `saturate(roundHalfToEven(x / scale) + zeroPoint)`. */
    Both<`quantizeF32${CodeName}`, Quantize> &
    Both<"quantizeF32I32", [src: number, dst: number, scales: number]> &
    /** Float offset: `saturate(roundHalfToEven(((x - min) / range) * levels + base))`. */
    Both<`floatOffsetF32${CodeName}`, FloatOffset> &
    /** Asymmetric: `(q - zeroPoint) * scale`. */
    Both<`dequantize${CodeName | "I32"}F32`, [src: number, dst: number, scales: number, zeroPoints: number]> &
    /** Float offset: `(q - base) * scale + min`. */
    Both<`floatOffset${CodeName}F32`, [src: number, dst: number, scales: number, mins: number, base: number]> &
    /** Adds to `out`: float64 `[5][count]` of squared error, dot, squares of a, squares of b, largest error. */
    Both<"errorF32", [a: number, b: number, out: number, count: number]>;

/** Float32 scales and int32 zero points, found, and codes; not 0 if NaN or an infinity was met: all is of no use then. */
type FusedKernels = { [N in `blocksF32${"I4" | "U4" | "I8" | "U8"}`]: (...args: Blocks) => number };

/** Over blocks of a matrix. */
type MatrixKernels =
  /** Finds float32 scales, rounded to float16 (1), bfloat16 (2) or not (0), and packed zero points; writes the codes. */
  InBlocks<"quantizeF32N", [symmetric: number, rounding: number]> &
    /**
     * The same without sums, which are left alone, and faster; not 0 if NaN or an infinity was met: what was written is then
     * of no use.
     */
    InBlocks<"packF32N", [symmetric: number, rounding: number], number> &
    /** The codes that go with the scales and zero points given, float32 both, [n, blocks]. */
    InBlocks<"encodeF32N"> &
    /** Finds scales and zero points by search: assembly/nbits-search.ts. */
    Searches;

interface OtherKernels {
  /** Blocks of a flat array to 16 levels given by `table`: assembly/quantize-bnb4.ts. */
  quantizeF32B4(
    src: number,
    dst: number,
    scales: number,
    sums: number,
    scratch: number,
    table: number,
    n: number,
    size: number,
    rounding: number,
  ): void;
  /** n columns of [k, stride] to [n, k]. */
  transposeF32(src: number, dst: number, n: number, k: number, stride: number): void;
  /** [k, n] bytes to [n, k]. */
  transposeBytes(src: number, dst: number, n: number, k: number): void;
  /** Adds to `out`: float64, squared error, squares of a; and the largest error. */
  lossF32(a: number, b: number, out: number, n: number): void;
  /** Adds int32 counts to `out`: values that became 0, subnormals that lost bits, infinities and NaN: assembly/half-loss.ts. */
  countF32Halves(values: number, halves: number, restored: number, out: number, n: number, exponent: number): void;
  packNibbles(src: number, dst: number, n: number, odd: number): void;
  unpackI4(src: number, dst: number, n: number, odd: number): void;
  unpackU4(src: number, dst: number, n: number, odd: number): void;
  convertF16F32(src: number, dst: number, n: number): void;
  convertBF16F32(src: number, dst: number, n: number): void;
  convertF32F16(src: number, dst: number, n: number): void;
  convertF32BF16(src: number, dst: number, n: number): void;
}

export type Kernels = GroupKernels & FusedKernels & MatrixKernels & OtherKernels;

export type KernelName = keyof Kernels;

/** What a kernel does, for those who go through the list: tests, the benchmark. */
export type Family =
  | "range"
  | "absMax"
  | "rangeFinite"
  | "histogram"
  | "roundingError"
  | "quantize"
  | "bias"
  | "quantizeFloatOffset"
  | "blocks"
  | "dequantize"
  | "dequantizeFloatOffset"
  | "error"
  | "loss"
  | "nibbles"
  | "half"
  | "count"
  | "nbits"
  | "pack"
  | "encode"
  | "bnb4"
  | "transpose"
  | "search";

export interface KernelEntry {
  readonly family: Family;
  /** Parameters per column rather than per run. */
  readonly columns: boolean;
  /** The type of the codes, where there are any. */
  readonly code?: CodeName | "I32";
  /** The widths of codes in blocks, which calls name. */
  readonly bits?: readonly BlockBits[];
}

export const codeNames: readonly CodeName[] = ["I8", "U8", "I16", "U16"];
const bits: readonly BlockBits[] = [2, 4, 8];

function both(name: string, entry: Omit<KernelEntry, "columns">): [string, KernelEntry][] {
  return [
    [name, { ...entry, columns: false }],
    [`${name}Columns`, { ...entry, columns: true }],
  ];
}

/** Every kernel there is. */
export const kernelList = Object.fromEntries([
  ...both("rangeF32", { family: "range" }),
  ...both("absMaxF32", { family: "absMax" }),
  ...both("rangeFiniteF32", { family: "rangeFinite" }),
  ...both("histogramF32", { family: "histogram" }),
  ...both("roundingErrorF32", { family: "roundingError" }),
  ...codeNames.flatMap((code) => both(`quantizeF32${code}`, { family: "quantize", code })),
  ...both("quantizeF32I32", { family: "bias", code: "I32" }),
  ...codeNames.flatMap((code) => both(`floatOffsetF32${code}`, { family: "quantizeFloatOffset", code })),
  ...[...codeNames, "I32" as const].flatMap((code) => both(`dequantize${code}F32`, { family: "dequantize", code })),
  ...codeNames.flatMap((code) => both(`floatOffset${code}F32`, { family: "dequantizeFloatOffset", code })),
  ...["I4", "U4", "I8", "U8"].map((code) => [`blocksF32${code}`, { family: "blocks", columns: false }] as const),
  ...both("errorF32", { family: "error" }),
  ...both("quantizeF32N", { family: "nbits", bits }),
  ...both("packF32N", { family: "pack", bits }),
  ...both("encodeF32N", { family: "encode", bits }),
  ...["mseF32", "hqqF32"].flatMap((name) => both(name, { family: "search", bits })),
  ["quantizeF32B4", { family: "bnb4", columns: false }] as const,
  ["lossF32", { family: "loss", columns: false }] as const,
  ["countF32Halves", { family: "count", columns: false }] as const,
  ...["transposeF32", "transposeBytes"].map((name) => [name, { family: "transpose", columns: false }] as const),
  ...["packNibbles", "unpackI4", "unpackU4"].map((name) => [name, { family: "nibbles", columns: false }] as const),
  ...["convertF16F32", "convertBF16F32", "convertF32F16", "convertF32BF16"].map(
    (name) => [name, { family: "half", columns: false }] as const,
  ),
]) as Readonly<Record<KernelName, KernelEntry>>;

export const kernelNames = Object.keys(kernelList) as KernelName[];

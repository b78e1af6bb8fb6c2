/**
 * The ABI of kernels.wasm and of its twin, as one list and one type. Pointers are byte addresses in linear memory,
 * lengths are elements. Kernels allocate nothing, throw nothing and check nothing.
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

type Quantize = [src: number, dst: number, scales: number, zeroPoints: number, lowest: number, highest: number];
type Minmax = [
  src: number,
  dst: number,
  ranges: number,
  mins: number,
  lowest: number,
  highest: number,
  levels: number,
  base: number,
];

export type Kernels =
  /** Folds extremes into mins and maxs; not 0 if NaN or an infinity was met. */
  Both<"rangeF32", [src: number, mins: number, maxs: number], number> &
    Both<"absMaxF32", [src: number, maxs: number], number> &
    /** The same over the finite values alone. */
    Both<"rangeFiniteF32", [src: number, mins: number, maxs: number]> &
    /** Affine: `saturate(roundHalfToEven(x / scale) + zeroPoint)`. */
    Both<`quantizeF32${CodeName}`, Quantize> &
    Both<"quantizeF32I32", [src: number, dst: number, scales: number]> &
    /** Minmax: `saturate(roundHalfToEven(((x - min) / range) * levels + base))`. */
    Both<`minmaxF32${CodeName}`, Minmax> &
    /** Affine: `(q - zeroPoint) * scale`. */
    Both<`dequantize${CodeName | "I32"}F32`, [src: number, dst: number, scales: number, zeroPoints: number]> &
    /** Minmax: `(q - base) * scale + min`. */
    Both<`minmax${CodeName}F32`, [src: number, dst: number, scales: number, mins: number, base: number]> &
    /** Adds to `out`: float64 `[5][count]` of squared error, dot, squares of a, squares of b, largest error. */
    Both<"errorF32", [a: number, b: number, out: number, count: number]> & {
      packNibbles(src: number, dst: number, n: number, odd: number): void;
      unpackI4(src: number, dst: number, n: number, odd: number): void;
      unpackU4(src: number, dst: number, n: number, odd: number): void;
      convertF16F32(src: number, dst: number, n: number): void;
      convertBF16F32(src: number, dst: number, n: number): void;
      convertF32F16(src: number, dst: number, n: number): void;
      convertF32BF16(src: number, dst: number, n: number): void;
    };

export type KernelName = keyof Kernels;

/** What a kernel does, for those who go through the list: tests, the benchmark. */
export type Family =
  | "range"
  | "absMax"
  | "rangeFinite"
  | "quantize"
  | "bias"
  | "minmax"
  | "dequantize"
  | "minmaxBack"
  | "error"
  | "nibbles"
  | "half";

export interface KernelEntry {
  readonly family: Family;
  /** Parameters per column rather than per run. */
  readonly columns: boolean;
  /** The type of the codes, where there are any. */
  readonly code?: CodeName | "I32";
}

const codeNames: readonly CodeName[] = ["I8", "U8", "I16", "U16"];

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
  ...codeNames.flatMap((code) => both(`quantizeF32${code}`, { family: "quantize", code })),
  ...both("quantizeF32I32", { family: "bias", code: "I32" }),
  ...codeNames.flatMap((code) => both(`minmaxF32${code}`, { family: "minmax", code })),
  ...[...codeNames, "I32" as const].flatMap((code) => both(`dequantize${code}F32`, { family: "dequantize", code })),
  ...codeNames.flatMap((code) => both(`minmax${code}F32`, { family: "minmaxBack", code })),
  ...both("errorF32", { family: "error" }),
  ...["packNibbles", "unpackI4", "unpackU4"].map((name) => [name, { family: "nibbles", columns: false }] as const),
  ...["convertF16F32", "convertBF16F32", "convertF32F16", "convertF32BF16"].map(
    (name) => [name, { family: "half", columns: false }] as const,
  ),
]) as Readonly<Record<KernelName, KernelEntry>>;

export const kernelNames = Object.keys(kernelList) as KernelName[];

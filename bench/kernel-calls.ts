import { bnb4Levels } from "../src/engine/blockwise/quantize-bnb4.ts";
import type { BlockBits, Family, KernelEntry, KernelName } from "../src/kernels/abi.ts";
import { BLOCK, blocks, COLUMNS, codeKinds, EDGE, type KernelData, LIMIT, near } from "./kernel-data.ts";
import type * as PlainLoops from "./plain-loops.ts";

export type Loops = typeof PlainLoops;

/** What sets the kernels of a family apart: the rest of a call is the same for all. */
export interface KernelCall {
  /** Bytes of an element in the input and in the output. */
  readonly from: number;
  readonly to: number;
  /** What a call takes before its shape. */
  readonly head: (src: number, dst: number, other: number) => number[];
  /** The loop people write, over the first `elements` elements; undefined where nobody writes one. */
  readonly plain?: ((elements: number) => () => unknown) | undefined;
}

/** Puts input and parameters in place. `bits` is for kernels whose calls name the width of codes. */
type Prepare = (stage: KernelData, entry: KernelEntry, loops: Loops, name: KernelName, bits: BlockBits) => KernelCall;

const scan: Prepare = (stage, { family, columns }, loops) => {
  const { first, second } = stage.memory.tiles;
  stage.fill(stage.input, blocks.values);
  stage.parameters(
    new Float32Array(COLUMNS).fill(family === "absMax" ? 0 : Number.POSITIVE_INFINITY),
    new Float32Array(COLUMNS).fill(Number.NEGATIVE_INFINITY),
  );
  const head = (src: number) => (family === "absMax" ? [src, first] : [src, first, second]);
  if (family === "rangeFinite") return { from: 4, to: 0, head };
  const [overRows, overColumns] =
    family === "absMax" ? [loops.absMax, loops.absMaxColumns] : [loops.range, loops.rangeColumns];
  const plain = (n: number) => {
    const x = stage.floats(stage.input, n);
    return columns ? () => overColumns(x, COLUMNS) : () => overRows(x);
  };
  return { from: 4, to: 0, head, plain };
};

/** As many bins as fit the first cache beside the values. */
const BINS = 4096;

const histogram: Prepare = (stage, { columns }) => {
  const { first } = stage.memory.tiles;
  stage.fill(stage.input, blocks.values);
  stage.parameters(
    new Float32Array(COLUMNS).fill(2 ** Math.floor(Math.log2(BINS / 2 / EDGE))),
    new Int32Array(COLUMNS),
  );
  return { from: 4, to: 0, head: (src) => [src, stage.output, first, columns ? 64 : BINS] };
};

const roundingError: Prepare = (stage) => {
  const { first, second, third, sums } = stage.memory.tiles;
  stage.fill(stage.input, blocks.values);
  stage.parameters(new Float32Array(COLUMNS).fill(EDGE / 127), new Int32Array(COLUMNS));
  stage.memory.view(Float32Array, third, COLUMNS).fill(0);
  return { from: 4, to: 0, head: (src) => [src, sums, first, third, second, -127, 127] };
};

const quantize: Prepare = (stage, { code, columns }, loops) => {
  const kind = codeKinds[code!];
  const { min, max } = kind;
  const { first, second } = stage.memory.tiles;
  const scales = near((2 * EDGE) / (max - min));
  const zeroPoints = new Int32Array(COLUMNS).fill(kind.zeroPoint);
  stage.fill(stage.input, blocks.values);
  stage.parameters(scales, zeroPoints);
  return {
    from: 4,
    to: kind.bytes,
    // Biases go without zero point and bounds.
    head: (src, dst) => (code === "I32" ? [src, dst, first] : [src, dst, first, second, min, max]),
    plain: (n) => {
      const x = stage.floats(stage.input, n);
      const q = stage.codes(kind, stage.output, n);
      return columns
        ? () => loops.quantizeColumns(x, q, scales, zeroPoints, min, max)
        : () => loops.quantize(x, q, scales[0]!, kind.zeroPoint, min, max);
    },
  };
};

const quantizeFloatOffset: Prepare = (stage, { code, columns }, loops) => {
  const kind = codeKinds[code!];
  const { min, max } = kind;
  const { first, second } = stage.memory.tiles;
  const ranges = near(2.5 * EDGE);
  const mins = near(-1.25 * EDGE);
  stage.fill(stage.input, blocks.values);
  stage.parameters(ranges, mins);
  return {
    from: 4,
    to: kind.bytes,
    head: (src, dst) => [src, dst, first, second, min, max, max - min, min],
    plain: (n) => {
      const x = stage.floats(stage.input, n);
      const q = stage.codes(kind, stage.output, n);
      return columns
        ? () => loops.quantizeFloatOffsetColumns(x, q, mins, ranges, min, max)
        : () => loops.quantizeFloatOffset(x, q, mins[0]!, ranges[0]!, min, max);
    },
  };
};

/** Both ways back: with zero points, or with minima. */
const dequantize: Prepare = (stage, { code, family, columns }, loops) => {
  const kind = codeKinds[code!];
  const { first, second } = stage.memory.tiles;
  const scales = near((2 * EDGE) / (kind.max - kind.min));
  const asymmetric = family === "dequantize";
  const zeroPoints = new Int32Array(COLUMNS).fill(kind.zeroPoint);
  const mins = near(-EDGE);
  stage.fill(stage.input, blocks.bytes);
  stage.parameters(scales, asymmetric ? zeroPoints : mins);
  return {
    from: kind.bytes,
    to: 4,
    head: (src, dst) => [src, dst, first, second, ...(asymmetric ? [] : [kind.min])],
    plain: (n) => {
      const q = stage.codes(kind, stage.input, n);
      const x = stage.floats(stage.output, n);
      if (asymmetric) {
        return columns
          ? () => loops.dequantizeColumns(q, x, scales, zeroPoints)
          : () => loops.dequantize(q, x, scales[0]!, kind.zeroPoint);
      }
      return columns
        ? () => loops.dequantizeFloatOffsetColumns(q, x, scales, mins, kind.min)
        : () => loops.dequantizeFloatOffset(q, x, scales[0]!, mins[0]!, kind.min);
    },
  };
};

const error: Prepare = (stage, { columns }, loops) => {
  const count = columns ? COLUMNS : 1;
  const { sums } = stage.memory.tiles;
  stage.fill(stage.input, blocks.values);
  stage.fill(stage.other, blocks.others);
  stage.memory.view(Float64Array, sums, 5 * count).fill(0);
  const plain = (n: number) => {
    const a = stage.floats(stage.input, n);
    const b = stage.floats(stage.other, n);
    return () => loops.error(a, b);
  };
  return { from: 4, to: 0, head: (src, _, other) => [src, other, sums, count], plain: columns ? undefined : plain };
};

const nibbles: Prepare = (stage, _, loops, name) => {
  const { input, output, memory } = stage;
  const packing = name === "packNibbles";
  stage.fill(input, blocks.bytes);
  const plain = (n: number) => {
    const packed = memory.view(Uint8Array, packing ? output : input, n / 2);
    const unsigned = memory.view(Uint8Array, packing ? input : output, n);
    const signed = memory.view(Int8Array, output, n);
    if (packing) return () => loops.packNibbles(unsigned, packed);
    return name === "unpackI4" ? () => loops.unpackI4(packed, signed) : () => loops.unpackU4(packed, unsigned);
  };
  return { from: packing ? 1 : 0.5, to: packing ? 0.5 : 1, head: (src, dst) => [src, dst], plain };
};

const half: Prepare = (stage, _, loops, name) => {
  const { input, output, memory } = stage;
  const widening = name.endsWith("F32");
  const brain = name.includes("BF16");
  const block = new Uint32Array(blocks.values.buffer);
  const halves = new Uint16Array(block.length);
  (brain ? loops.narrowBrain : loops.narrowHalf)(block, halves);
  stage.fill(input, widening ? halves : block);
  const plain = (n: number) => {
    const narrow = memory.view(Uint16Array, widening ? input : output, n);
    const bits = memory.view(Uint32Array, widening ? output : input, n);
    const wide = stage.floats(output, n);
    if (brain) return widening ? () => loops.widenBrain(narrow, bits) : () => loops.narrowBrain(bits, narrow);
    return widening ? () => loops.widenHalf(narrow, wide) : () => loops.narrowHalf(bits, narrow);
  };
  return { from: widening ? 2 : 4, to: widening ? 4 : 2, head: (src, dst) => [src, dst], plain };
};

/** What every kernel over a call's matrix in blocks takes before its sizes; `sums` only grow. */
const matrix: Prepare = (stage, { family }, _, __, bits) => {
  const { first, second, sums, others } = stage.memory.tiles;
  const count = LIMIT / BLOCK;
  stage.fill(stage.input, blocks.values);
  stage.parameters(new Float32Array(count).fill(EDGE / 2 ** (bits - 1)), new Float32Array(count).fill(2 ** (bits - 1)));
  stage.memory.view(Uint8Array, sums, 64 * COLUMNS).fill(0);
  if (family === "search") return { from: 4, to: 0, head: (src) => [src, first, second, others] };
  return { from: 4, to: bits / 8, head: (src, dst) => [src, dst, first, second, sums, others] };
};

/** Blocks of a call, their parameters found on the way. */
const inBlocks: Prepare = (stage, _, __, name) => {
  const { first, second } = stage.memory.tiles;
  const kind = codeKinds[name.includes("I") ? "I8" : "U8"];
  const bits = name.endsWith("4") ? 4 : 8;
  const [min, max] = bits === 4 ? [kind.min >> 4, kind.max >> 4] : [kind.min, kind.max];
  stage.fill(stage.input, blocks.values);
  return {
    from: 4,
    to: bits / 8,
    head: (src, dst) => [src, dst, first, second, name.endsWith("I4") ? 2 : 0, min, max],
  };
};

const bnb4: Prepare = (stage) => {
  const { first, sums, others, raw } = stage.memory.tiles;
  const { thresholds, values, codes } = bnb4Levels.nf4;
  stage.fill(stage.input, blocks.values);
  stage.memory.view(Float32Array, raw, 15).set(thresholds);
  stage.memory.view(Float32Array, raw + 64, 16).set(values);
  stage.memory.view(Uint8Array, raw + 128, 16).set(codes);
  stage.memory.view(Uint8Array, sums, 64).fill(0);
  return { from: 4, to: 0.5, head: (src, dst) => [src, dst, first, sums, others, raw] };
};

const loss: Prepare = (stage) => {
  stage.fill(stage.input, blocks.values);
  stage.fill(stage.other, near(EDGE));
  return { from: 4, to: 4, head: (src) => [src, stage.other, stage.memory.tiles.sums] };
};

const count: Prepare = (stage) => {
  const { input, other } = stage;
  const halves = new Uint16Array(blocks.values.length);
  stage.fill(input, blocks.values);
  stage.fill(other, halves);
  // The values stand for what was restored, too: what is read counts, not what it is.
  return { from: 4, to: 2, head: (src) => [src, other, src, stage.memory.tiles.sums] };
};

const transpose: Prepare = (stage, _, __, name) => {
  const bytes = name === "transposeBytes" ? 1 : 4;
  stage.fill(stage.input, blocks.values);
  return { from: bytes, to: bytes, head: (src, dst) => [src, dst] };
};

export const jobs: Readonly<Record<Family, Prepare>> = {
  range: scan,
  absMax: scan,
  rangeFinite: scan,
  histogram,
  roundingError,
  quantize,
  bias: quantize,
  quantizeFloatOffset,
  dequantize,
  dequantizeFloatOffset: dequantize,
  error,
  nibbles,
  half,
  loss,
  count,
  blocks: inBlocks,
  nbits: matrix,
  pack: matrix,
  encode: matrix,
  search: matrix,
  bnb4,
  transpose,
};

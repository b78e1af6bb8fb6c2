import type { BlockBits, Kernels } from "../abi.ts";
import { type BlockParameters, blockParameters, reciprocalOf } from "../block-parameters.ts";
import { clamp, roundHalfUp } from "../rounding.ts";
import type { ViewOf } from "./groups.ts";

const { fround } = Math;

/** What sums over a block are counted in: assembly/parameters.ts. */
function unitOf(scale: number): number {
  const size = Math.abs(scale);
  if (size >= 2 ** -40 && size <= 2 ** 40) return 1;
  return reciprocalOf(scale) || (size === Number.POSITIVE_INFINITY ? 2 ** -100 : 2 ** 120);
}

/** One block of a matrix: where its values are, and where what is made of them goes. */
export interface Block {
  readonly length: number;
  readonly x: (i: number) => number;
  /** The row of the result, and the place of the block in it. */
  readonly row: number;
  readonly b: number;
}

interface Call {
  readonly view: DataView;
  readonly bits: BlockBits;
  readonly dst: number;
  /** Undefined where nobody asks what is lost. */
  readonly sums: number | undefined;
  readonly blocks: number;
  readonly size: number;
}

export function extremesOf({ length, x }: Block) {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < length; i++) {
    const value = x(i);
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max, first: x(0) };
}

/** Writes the codes of a block and, where there is room for sums, what they lose. */
function encodeBlock({ view, bits, dst, sums, blocks, size }: Call, block: Block, parameters: BlockParameters): void {
  const { length, x, row, b } = block;
  const { scale, zeroPoint } = parameters;
  const bytes = (size * bits) / 8;
  const to = dst + (row * blocks + b) * bytes;
  const reciprocal = reciprocalOf(scale);
  const codes = new Uint8Array(length);

  for (let i = 0; i < bytes; i++) view.setUint8(to + i, 0);
  for (let i = 0; i < length; i++) {
    const scaled = fround(fround(x(i) * reciprocal) + zeroPoint);
    codes[i] = roundHalfUp(clamp(scaled, 0, 2 ** bits - 1));
    const bit = i * bits;
    view.setUint8(to + (bit >> 3), view.getUint8(to + (bit >> 3)) | (codes[i]! << (bit & 7)));
  }
  if (sums === undefined) return;
  measureBlock(view, sums + 64 * row, block, scale, (i) => fround(fround(codes[i]! - zeroPoint) * scale));
}

/**
 * Adds a block's sums to the 64 bytes at `at`: assembly/nbits.ts has their order.
 *
 * @param restored what a value is restored to
 */
export function measureBlock(
  view: DataView,
  at: number,
  { length, x }: Pick<Block, "length" | "x">,
  scale: number,
  restored: (i: number) => number,
): void {
  const unit = unitOf(scale);
  const sums = [0, 1, 2].map(() => new Float32Array(4));
  for (let i = 0; i < length; i++) {
    const e = fround(x(i) - restored(i));
    [e, x(i), restored(i)].forEach((value, k) => {
      const inUnits = fround(value * unit);
      sums[k]![i % 4]! += fround(inUnits * inUnits);
    });
    const largest = at + 48 + 4 * (i % 4);
    if (Math.abs(e) > view.getFloat32(largest, true)) view.setFloat32(largest, Math.abs(e), true);
  }
  const back = 1 / (unit * unit);
  sums.forEach((lanes, k) => {
    for (const half of [0, 1]) {
      const to = at + 16 * k + 8 * half;
      view.setFloat64(to, view.getFloat64(to, true) + fround(lanes[half]! + lanes[half + 2]!) * back, true);
    }
  });
}

type Shape = [n: number, k: number, stride: number, size: number];

export function eachBlock(view: DataView, src: number, columns: boolean, shape: Shape, visit: (block: Block) => void) {
  const [n, k, stride, size] = shape;
  for (let row = 0; row < n; row++) {
    for (let b = 0; b * size < k; b++) {
      const index = (i: number) => (columns ? (b * size + i) * stride + row : row * stride + b * size + i);
      const x = (i: number) => view.getFloat32(src + 4 * index(i), true);
      visit({ length: Math.min(size, k - b * size), x, row, b });
    }
  }
}

function quantizer(viewOf: ViewOf, bits: BlockBits, columns: boolean, measured: boolean): Kernels["packF32N4"] {
  return (src, dst, scales, zeroPoints, sums, _scratch, n, k, stride, size, isSymmetric, rounding) => {
    const view = viewOf();
    let bad = 0;
    const blocks = Math.ceil(k / size);
    const zeroBytes = Math.ceil((blocks * bits) / 8);
    const fill = { 2: 0xaa, 4: 0x88, 8: 0 }[bits];
    eachBlock(view, src, columns, [n, k, stride, size], (block) => {
      const { row, b } = block;
      const parameters = blockParameters(extremesOf(block), bits, isSymmetric === 1, rounding);
      view.setFloat32(scales + 4 * (row * blocks + b), parameters.scale, true);
      if (isSymmetric !== 1) {
        const bit = b * bits;
        const at = zeroPoints + row * zeroBytes + (bit >> 3);
        const byte = bit % 8 === 0 ? fill : view.getUint8(at);
        const mask = (2 ** bits - 1) << (bit & 7);
        view.setUint8(at, (byte & ~mask) | (parameters.zeroPoint << (bit & 7)));
      }
      encodeBlock({ view, bits, dst, sums: measured ? sums : undefined, blocks, size }, block, parameters);
      for (let i = 0; i < block.length; i++) if (!Number.isFinite(block.x(i))) bad = 1;
    });
    return bad;
  };
}

function encoder(viewOf: ViewOf, bits: BlockBits, columns: boolean): Kernels["encodeF32N4"] {
  return (src, dst, scales, zeroPoints, sums, _scratch, n, k, stride, size) => {
    const view = viewOf();
    const blocks = Math.ceil(k / size);
    eachBlock(view, src, columns, [n, k, stride, size], (block) => {
      const at = 4 * (block.row * blocks + block.b);
      const parameters = {
        scale: view.getFloat32(scales + at, true),
        zeroPoint: view.getFloat32(zeroPoints + at, true),
      };
      encodeBlock({ view, bits, dst, sums, blocks, size }, block, parameters);
    });
  };
}

type NBits = Pick<
  Kernels,
  Extract<keyof Kernels, `${"quantize" | "pack" | "encode"}F32N${BlockBits}${"" | "Columns"}`>
>;

/** Reference for assembly/nbits.ts and pack.ts. */
export function nbitsReference(viewOf: ViewOf): NBits {
  return Object.fromEntries(
    ([2, 4, 8] as const).flatMap((bits) =>
      [false, true].flatMap((columns) => {
        const suffix = `N${bits}${columns ? "Columns" : ""}`;
        return [
          [`quantizeF32${suffix}`, quantizer(viewOf, bits, columns, true)],
          [`packF32${suffix}`, quantizer(viewOf, bits, columns, false)],
          [`encodeF32${suffix}`, encoder(viewOf, bits, columns)],
        ];
      }),
    ),
  ) as NBits;
}

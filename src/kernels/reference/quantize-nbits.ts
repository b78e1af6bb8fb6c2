import type { BlockBits, Kernels } from "../abi.ts";
import { type BlockParameters, blockParameters, reciprocalOf } from "../block-parameters.ts";
import { packZeroPoint } from "../nbits-zero-points.ts";
import { clamp, roundHalfUp } from "../rounding.ts";
import { measureBlock } from "./block-error.ts";
import type { ViewOf } from "./groups.ts";
import { type Block, eachBlock, extremesOf } from "./matrix-blocks.ts";

const { fround } = Math;

interface Call {
  readonly view: DataView;
  readonly bits: BlockBits;
  readonly dst: number;
  /** Undefined where nobody asks what is lost. */
  readonly sums: number | undefined;
  readonly blocks: number;
  readonly size: number;
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

function quantizer(viewOf: ViewOf, columns: boolean, measured: boolean): Kernels["packF32N"] {
  return (src, dst, scales, zeroPoints, sums, _scratch, n, k, stride, size, width, isSymmetric, rounding) => {
    const view = viewOf();
    const bits = width as BlockBits;
    let bad = 0;
    const blocks = Math.ceil(k / size);
    const zeroBytes = Math.ceil((blocks * bits) / 8);
    eachBlock(view, src, columns, [n, k, stride, size], (block) => {
      const { row, b } = block;
      const parameters = blockParameters(extremesOf(block), bits, isSymmetric === 1, rounding);
      view.setFloat32(scales + 4 * (row * blocks + b), parameters.scale, true);
      if (isSymmetric !== 1) {
        const at = zeroPoints + row * zeroBytes + ((b * bits) >> 3);
        view.setUint8(at, packZeroPoint(view.getUint8(at), parameters.zeroPoint, b, bits));
      }
      encodeBlock({ view, bits, dst, sums: measured ? sums : undefined, blocks, size }, block, parameters);
      for (let i = 0; i < block.length; i++) if (!Number.isFinite(block.x(i))) bad = 1;
    });
    return bad;
  };
}

function encoder(viewOf: ViewOf, columns: boolean): Kernels["encodeF32N"] {
  return (src, dst, scales, zeroPoints, sums, _scratch, n, k, stride, size, width) => {
    const view = viewOf();
    const bits = width as BlockBits;
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

type NBits = Pick<Kernels, `${"quantize" | "pack" | "encode"}F32N${"" | "Columns"}`>;

/** Reference for assembly/quantize-nbits.ts. */
export function nbitsReference(viewOf: ViewOf): NBits {
  return {
    quantizeF32N: quantizer(viewOf, false, true),
    quantizeF32NColumns: quantizer(viewOf, true, true),
    packF32N: quantizer(viewOf, false, false),
    packF32NColumns: quantizer(viewOf, true, false),
    encodeF32N: encoder(viewOf, false),
    encodeF32NColumns: encoder(viewOf, true),
  };
}

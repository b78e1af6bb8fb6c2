import type { BlockBits, Kernels, Search } from "../abi.ts";
import { type BlockParameters, blockParameters, reciprocalOf, storedScale } from "../block-parameters.ts";
import { clamp, roundHalfToEven, roundHalfUp } from "../rounding.ts";
import type { ViewOf } from "./groups.ts";
import { type Block, eachBlock, extremesOf } from "./matrix-blocks.ts";

const { abs, fround, sqrt } = Math;

/** Factors by which 1 / scale is changed: the first, and how far they lie apart. */
const factors = { 2: [0.5, 0.25], 4: [0.90625, 0.046875], 8: [0.984375, 0.0078125] } as const;
const FACTORS = 7;
const CLEARLY = fround(0.9999);

const TURNS = 10;
const SHRINK = 0.25;

interface Start extends BlockParameters {
  readonly bits: BlockBits;
  readonly symmetric: boolean;
  readonly rounding: number;
}

/** Each value in units of a scale: its code, zero point taken off, and what the code leaves of it. */
function eachCode(
  { length, x }: Block,
  {
    reciprocal,
    zeroPoint,
    bits,
  }: { readonly reciprocal: number; readonly zeroPoint: number; readonly bits: BlockBits },
  visit: (code: number, left: number) => void,
): void {
  for (let i = 0; i < length; i++) {
    const y = fround(x(i) * reciprocal);
    const code = clamp(roundHalfToEven(y), -zeroPoint, 2 ** bits - 1 - zeroPoint);
    visit(code, fround(y - code));
  }
}

/** The squared error of a block, in units of 1 / `unit`, with the codes that it is going to get. */
function squaredError(
  { length, x }: Block,
  bits: BlockBits,
  { scale, zeroPoint }: BlockParameters,
  unit: number,
): number {
  const reciprocal = reciprocalOf(scale);
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const q = roundHalfUp(clamp(fround(fround(x(i) * reciprocal) + zeroPoint), 0, 2 ** bits - 1));
    const e = fround(fround(x(i) - fround((q - zeroPoint) * scale)) * unit);
    sum = fround(sum + fround(e * e));
  }
  return sum;
}

/** Least squares: see assembly/nbits-search.ts. */
function mse(block: Block, start: Start): BlockParameters {
  const { bits, symmetric, rounding } = start;
  const unit = reciprocalOf(start.scale);
  const variants = symmetric
    ? [1, -1].map((sign) => ({ sign, zeroPoint: start.zeroPoint }))
    : [0, -1, 1].map((shift) => ({ sign: 1, zeroPoint: clamp(start.zeroPoint + shift, 0, 2 ** bits - 1) }));
  let best = Number.POSITIVE_INFINITY;
  let { scale, zeroPoint } = start as BlockParameters;
  for (const variant of variants) {
    for (let j = 0; j < FACTORS; j++) {
      const [first, step] = factors[bits];
      const t = variant.sign * (first + j * step);
      let [dd, dl, ll] = [0, 0, 0];
      eachCode(block, { reciprocal: fround(unit * t), zeroPoint: variant.zeroPoint, bits }, (l, d) => {
        dd = fround(dd + fround(d * d));
        dl = fround(dl + fround(d * l));
        ll = fround(ll + fround(l * l));
      });
      const error = fround(fround(dd - fround(fround(dl * dl) / ll)) / fround(t * t));
      if (!(error < best)) continue;
      best = error;
      scale = fround(fround(start.scale / t) * fround(1 + fround(dl / ll)));
      zeroPoint = variant.zeroPoint;
    }
  }
  const before = { scale: storedScale(start.scale, rounding), zeroPoint: start.zeroPoint };
  const after = { scale: storedScale(scale, rounding), zeroPoint };
  const fell = squaredError(block, bits, after, unit) < fround(squaredError(block, bits, before, unit) * CLEARLY);
  return fell ? after : before;
}

/** Half-quadratic: see assembly/nbits-search.ts. */
function hqq(block: Block, start: Start): BlockParameters {
  const { bits, zeroPoint, rounding } = start;
  const unit = reciprocalOf(start.scale);
  let [scale, found] = [start.scale, start.scale];
  let best = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < TURNS; turn++) {
    let [cost, rl, ll] = [0, 0, 0];
    eachCode(block, { reciprocal: reciprocalOf(scale), zeroPoint, bits }, (l, d) => {
      const root = fround(sqrt(abs(d)));
      const fourth = fround(sqrt(root));
      cost = fround(cost + fround(root * fourth));
      const size = fround(SHRINK / fourth);
      const rest = size < abs(d) ? size : abs(d);
      rl = fround(rl + fround((d < 0 ? -rest : rest) * l));
      ll = fround(ll + fround(l * l));
    });
    const root = fround(sqrt(abs(fround(scale * unit))));
    cost = fround(cost * fround(root * fround(sqrt(root))));
    if (cost < best) {
      best = cost;
      found = scale;
    }
    const factor = fround(1 + fround(rl / ll));
    if (factor > 0) scale = fround(scale * factor);
  }
  return { scale: storedScale(found, rounding), zeroPoint };
}

function searcher(viewOf: ViewOf, find: typeof mse, columns: boolean): (...args: Search) => void {
  return (src, scales, zeroPoints, _scratch, n, k, stride, size, bits, isSymmetric, rounding) => {
    const view = viewOf();
    const how = { bits: bits as BlockBits, symmetric: isSymmetric === 1, rounding };
    eachBlock(view, src, columns, [n, k, stride, size], (block) => {
      const { scale, zeroPoint } = blockParameters(extremesOf(block), how.bits, how.symmetric, 0);
      const found = find(block, { ...how, scale: Number.isNaN(scale) ? 0 : scale, zeroPoint });
      const at = 4 * (block.row * Math.ceil(k / size) + block.b);
      view.setFloat32(scales + at, found.scale, true);
      view.setFloat32(zeroPoints + at, found.zeroPoint, true);
    });
  };
}

/** Reference for assembly/nbits-search.ts. */
export function searchReference(viewOf: ViewOf): Pick<Kernels, `${"mse" | "hqq"}F32${"" | "Columns"}`> {
  return {
    mseF32: searcher(viewOf, mse, false),
    mseF32Columns: searcher(viewOf, mse, true),
    hqqF32: searcher(viewOf, hqq, false),
    hqqF32Columns: searcher(viewOf, hqq, true),
  };
}

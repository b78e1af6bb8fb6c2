import { roundHalfToEven } from "../rounding.ts";

const SMALLEST_NORMAL = 1.1754943508222875e-38;
const { abs, fround, max, min } = Math;

interface GroupParameters {
  readonly scale: number;
  readonly zeroPoint: number;
}

type Rule = (low: number, high: number, qmin: number, qmax: number) => GroupParameters;

const asymmetric: Rule = (low, high, qmin, qmax) => {
  const exact = spanOf(min(low, 0), max(high, 0)) / (qmax - qmin);
  return orOne(exact, exact, roundHalfToEven(qmin - min(low, 0) / exact));
};

const symmetric: Rule = (low, high, qmin, qmax) => {
  const magnitude = max(-low, high);
  const exact = spanOf(-magnitude, magnitude) / (qmax - qmin);
  return orOne(exact, exact, roundHalfToEven((qmin + qmax) / 2));
};

const signedExtreme: Rule = (low, high, qmin) => {
  const exact = (-low >= high ? low : high) / qmin;
  return orOne(abs(exact), exact, 0);
};

/** How a range becomes scale and zero point, by number: assembly/scheme-parameters.ts. */
export const schemeRules = [asymmetric, symmetric, signedExtreme] as const;

function orOne(size: number, scale: number, zeroPoint: number): GroupParameters {
  return size < SMALLEST_NORMAL ? { scale: 1, zeroPoint: 0 } : { scale: fround(scale), zeroPoint };
}

/** In float32, or in float64 where float32 has no number that large. */
function spanOf(low: number, high: number): number {
  const span = fround(high - low);
  return Number.isFinite(span) ? span : high - low;
}

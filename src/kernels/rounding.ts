/** 1.5 * 2^52: added to a float64 below 2^51 in size, it leaves the value rounded half to even. */
const MAGIC = 6755399441055744;

/** Rounds to the nearest integer, halves to the even one; `x` is below 2^51 in size. */
export function roundHalfToEven(x: number): number {
  return x + MAGIC - MAGIC;
}

/** Rounds to the nearest integer, halves up; right for any float32 >= 0, as the sum is taken in float64. */
export function roundHalfUp(x: number): number {
  return Math.floor(x + 0.5);
}

/** `x` held between `lowest` and `highest`; NaN becomes the lowest. */
export function clamp(x: number, lowest: number, highest: number): number {
  return x > lowest ? Math.min(x, highest) : lowest;
}

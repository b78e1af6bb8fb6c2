import { ArgumentError } from "../../errors.ts";

/** The number of elements of `shape`. */
export function elementsOf(shape: readonly number[]): number {
  let product = 1;
  for (const dimension of shape) product *= dimension;
  return product;
}

/** More groups than this are a mistake: their scales alone would take gigabytes. */
const MOST = 2 ** 30;

/**
 * A copy of `shape` that nobody can change.
 *
 * @throws ArgumentError unless it is made of whole numbers that are not negative, with a product below 2^53; a dimension
 * beside a 0 may not be beyond 2^30 either.
 */
export function checkShape(shape: readonly number[]): readonly number[] {
  if (Array.isArray(shape) || ArrayBuffer.isView(shape)) {
    const copy = Object.freeze(Array.from(shape as readonly number[]));
    // A bigint among them has no product with the others.
    const product = copy.every(Number.isSafeInteger) ? elementsOf(copy) : Number.NaN;
    const most = product === 0 ? MOST : Number.MAX_SAFE_INTEGER;
    if (copy.every((d) => d >= 0 && d <= most) && Number.isSafeInteger(product)) return copy;
  }
  throw new ArgumentError("shape", `[${String(shape)}] given; whole numbers of 0 or more are allowed`);
}

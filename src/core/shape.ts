import { ArgumentError } from "../errors.ts";

/** The number of elements of `shape`. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/** @throws ArgumentError unless `shape` is made of whole numbers that are not negative, with a product below 2^53. */
export function checkShape(shape: readonly number[]): readonly number[] {
  if (Array.isArray(shape) && shape.every((d) => Number.isSafeInteger(d) && d >= 0)) {
    if (Number.isSafeInteger(elementsOf(shape))) return shape;
  }
  throw new ArgumentError("shape", `[${String(shape)}] given; whole numbers of 0 or more are allowed`);
}

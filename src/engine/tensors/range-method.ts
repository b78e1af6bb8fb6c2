import { ArgumentError } from "../../errors.ts";

/**
 * How the range of a group is chosen, which is another thing than the scheme that maps it onto codes.
 *
 * - `minmax`: the extremes.
 * - `mse`: the clipping under which the codes have the least squared error, for the dtype and scheme asked for.
 * - `percentile`, `percentile=99.9`: what holds that share of the values, in percent. Default: 99.99. Under `symmetric` of
 *   their magnitudes; else as much is left out at either end.
 * - `entropy`: the clipping that changes the distribution of the values least, by KL divergence.
 */
export type RangeMethod = "minmax" | "mse" | "entropy" | "percentile" | `percentile=${number}`;

/** A range method taken apart. */
export interface RangeRule {
  readonly name: "minmax" | "mse" | "entropy" | "percentile";
  /** Percent. Of `percentile` alone. */
  readonly percentile?: number;
}

const names = ["minmax", "mse", "entropy", "percentile"] as const;
const DEFAULT_PERCENTILE = 99.99;

/** @throws ArgumentError for an unknown method, and for a percentile outside (50, 100] */
export function rangeRuleOf(argument: string, method: unknown): RangeRule {
  if (typeof method !== "string") {
    throw new ArgumentError(argument, `expected one of minmax, mse, entropy, percentile=P; got ${String(method)}`);
  }
  const [name = "", value, ...more] = method.split("=");
  const known = names.find((each) => each === name);
  if (!known || more.length > 0 || (value !== undefined && known !== "percentile")) {
    throw new ArgumentError(
      argument,
      `expected one of minmax, mse, entropy, percentile=P; got ${JSON.stringify(method)}`,
    );
  }
  if (known !== "percentile") return { name: known };
  const percentile = value === undefined ? DEFAULT_PERCENTILE : value.trim() === "" ? Number.NaN : Number(value);
  if (!(percentile > 50 && percentile <= 100)) {
    throw new ArgumentError(
      argument,
      `percentile: expected a number above 50, at most 100; got ${JSON.stringify(value)}`,
    );
  }
  return { name: "percentile", percentile };
}

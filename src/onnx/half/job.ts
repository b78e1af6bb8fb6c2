import type { Engine } from "../../core/engine.ts";
import { addSums, type LossSums, lossOf } from "../../core/error.ts";
import type { Narrowed } from "../../core/narrow.ts";
import type { ResidentTensor } from "../../core/resident.ts";
import { elementsOf } from "../../core/shape.ts";
import type { FloatTensor } from "../../core/tensor.ts";
import type { HalfDType } from "../../dtypes.ts";
import { ArgumentError } from "../../errors.ts";
import type { Job, JobSpec, Loss, Maker } from "../jobs/job.ts";
import type { FloatConstant } from "../weights.ts";
import { Pending } from "../wire.ts";

/** What becomes of values that a half does not hold. */
export interface Limits {
  /** Those beyond the largest half become it; an error otherwise. */
  readonly clamps: boolean;
  /** Those that would be 0 become the smallest half: what is divided by, or added so that it is never 0. */
  readonly raises: boolean;
}

/**
 * From here on a number stands for something endless: what is masked, what no sum reaches. Such numbers become the largest
 * half, and not infinite, since 0 times that is not a number.
 */
const ENDLESS = 1e9;

const halves = {
  float16: { infinity: 0x7c00, largest: 65504 },
  bfloat16: { infinity: 0x7f80, largest: 3.3895313892515355e38 },
} as const;

/** What a half does not hold of a tensor's values, and what became of them. */
export interface NarrowLoss extends Loss {
  readonly halves: Pick<Narrowed, "first" | "zeros" | "subnormals" | "nonFinite"> & {
    /** Values beyond the largest half that became it; `first` is one of them. */
    readonly clamped: number;
    /** Values that became the smallest half, and would have become 0. */
    readonly raised: number;
  };
}

export interface NarrowSpec extends JobSpec {
  readonly kind: "narrow";
  readonly dtype: HalfDType;
  readonly limits: Limits;
}

/** float32 values as halves. */
export class NarrowJob implements Job<NarrowSpec> {
  readonly halves: Pending;

  constructor(
    readonly constant: FloatConstant,
    readonly dtype: HalfDType,
    private readonly limits: Limits,
  ) {
    this.halves = new Pending(2 * elementsOf(constant.tensor.shape));
  }

  get spec(): NarrowSpec {
    const { clamps, raises } = this.limits;
    return { kind: "narrow", dtype: this.dtype, limits: { clamps, raises } };
  }

  get parts(): readonly Pending[] {
    return [this.halves];
  }
}

/** @throws ArgumentError for a value beyond the largest half */
export const makeNarrow: Maker<NarrowSpec> = (values, spec, { engine, shelf }) => {
  const bytes = shelf.bytes(2 * elementsOf(values.shape));
  const { sums, halves } = narrowInto(engine, values, spec, bytes);
  const { sqnr, maxAbs } = lossOf(sums, elementsOf(values.shape));
  return { loss: { sqnr, maxAbs, halves } as NarrowLoss, bytes: [bytes] };
};

/** What is lost of a tensor or of a window of it. */
export type NarrowSums = { readonly sums: LossSums } & Pick<NarrowLoss, "halves">;

/**
 * Writes halves to `bytes`.
 *
 * @param base flat index of the first value
 * @throws ArgumentError for a value beyond the largest half
 */
export function narrowInto(
  engine: Engine,
  values: FloatTensor | ResidentTensor,
  { dtype, limits }: NarrowSpec,
  bytes: Uint8Array,
  base = 0,
): NarrowSums {
  const out = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const narrowed = engine.narrow(values, { dtype, out });
  const floats = values.data as Float32Array;
  const clamped = narrowed.overflows > 0 ? clamp(floats, out, dtype, limits, base) : 0;
  const raised = narrowed.zeros > 0 && limits.raises ? raise(floats, out) : 0;
  const { zeros, subnormals, nonFinite } = narrowed;
  const first = narrowed.first && { ...narrowed.first, index: base + narrowed.first.index };
  const isPlain = clamped === 0 && raised === 0 && nonFinite === 0;
  const sums = isPlain ? narrowed.sums : lossWithin(engine, dtype, floats, out);
  return { sums, halves: { first, zeros: zeros - raised, subnormals, nonFinite, clamped, raised } };
}

/** Of a tensor from those of its windows. */
export function addNarrowSums(windows: readonly NarrowSums[]): NarrowSums {
  const count = (of: (halves: NarrowLoss["halves"]) => number) =>
    windows.reduce((sum, each) => sum + of(each.halves), 0);
  return {
    sums: addSums(windows.map(({ sums }) => sums)),
    halves: {
      first: windows.find(({ halves }) => halves.first)?.halves.first,
      zeros: count(({ zeros }) => zeros),
      subnormals: count(({ subnormals }) => subnormals),
      nonFinite: count(({ nonFinite }) => nonFinite),
      clamped: count(({ clamped }) => clamped),
      raised: count(({ raised }) => raised),
    },
  };
}

function clamp(values: Float32Array, out: Uint16Array, dtype: HalfDType, { clamps }: Limits, base: number): number {
  const { infinity, largest } = halves[dtype];
  let clamped = 0;
  for (let i = 0; i < out.length; i++) {
    const value = values[i]!;
    if ((out[i]! & 0x7fff) !== infinity || !Number.isFinite(value)) continue;
    if (!clamps && Math.abs(value) < ENDLESS && dtype === "float16") throw beyond(value, base + i, largest);
    // One below infinity, the sign as it is.
    out[i] = out[i]! - 1;
    clamped++;
  }
  return clamped;
}

/** Over all but NaN, infinities and what stands for something endless, as masks do: one of them would outweigh all else. */
function lossWithin(engine: Engine, dtype: HalfDType, values: Float32Array, out: Uint16Array): LossSums {
  const most = Math.max(halves[dtype].largest, ENDLESS);
  const isWithin = (i: number) => Math.abs(values[i]!) < most;
  const data = values.map((value, i) => (isWithin(i) ? value : 0));
  const bits = out.map((half, i) => (isWithin(i) ? half : 0));
  const shape = [out.length];
  return engine.lossSums({ shape, data }, { dtype, shape, data: bits });
}

function raise(values: Float32Array, out: Uint16Array): number {
  let raised = 0;
  for (let i = 0; i < out.length; i++) {
    if ((out[i]! & 0x7fff) !== 0 || values[i] === 0) continue;
    out[i] = out[i]! | 1;
    raised++;
  }
  return raised;
}

function beyond(value: number, index: number, largest: number): ArgumentError {
  const cures = "clamp: true makes it that, exclude leaves the nodes that use it in float32";
  return new ArgumentError("data", `${value} at flat index ${index} is beyond float16 (up to ${largest}); ${cures}`);
}

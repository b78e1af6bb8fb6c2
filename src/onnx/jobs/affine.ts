import type { ResidentTensor } from "../../core/resident.ts";
import { elementsOf } from "../../core/shape.ts";
import { bytesOf, type FloatTensor } from "../../core/tensor.ts";
import { byteLengthOf, type CodeDType, codeTypes } from "../../dtypes.ts";
import type { Recipe } from "../recipe.ts";
import { type FloatConstant, weightTypeOf } from "../weights.ts";
import { Pending } from "../wire.ts";
import { finiteScales } from "./finite.ts";
import type { Job, Made, Tools } from "./job.ts";
import { swapLast } from "./swap.ts";

/** How the parts are stored, where it is not as the weight lies. */
export interface AffineForm {
  /** Whether zero points are stored where they are 0 throughout. */
  readonly storesZeros?: boolean;
  /** Whether the last two axes of the codes change places. */
  readonly swapsLast?: boolean;
  /** The zero point of all groups, stored once: what ConvInteger takes. */
  readonly zeroPoint?: number;
}

/** Codes with scales and zero points, all of the weight's groups in one order. */
export class AffineJob implements Job {
  readonly codes: Pending;
  readonly scale: Pending;
  readonly zeroPoint: Pending | undefined;

  constructor(
    readonly constant: FloatConstant,
    readonly recipe: Recipe,
    readonly form: AffineForm = {},
  ) {
    const { dtype, groups } = recipe;
    this.codes = new Pending(byteLengthOf(dtype, elementsOf(constant.tensor.shape)));
    this.scale = new Pending(4 * groups);
    if (form.storesZeros || hasZeroPoint(recipe)) {
      this.zeroPoint = new Pending(byteLengthOf(dtype, form.zeroPoint === undefined ? groups : 1));
    }
  }

  get dtype(): string {
    return this.recipe.dtype;
  }

  get key(): string {
    return `affine ${JSON.stringify([this.recipe, this.form])}`;
  }

  get parts(): readonly Pending[] {
    return [this.codes, this.scale, ...(this.zeroPoint ? [this.zeroPoint] : [])];
  }

  make(values: FloatTensor | ResidentTensor, { engine, nonFinite, shelf }: Tools): Made {
    const { dtype, scheme, granularity, reduceRange } = this.recipe;
    const { shape } = this.constant.tensor;
    const out = shelf.lend(dtype, elementsOf(shape));
    const how = { dtype, scheme, ...granularity, out };
    let found = engine.quantizeMeasured(values, { ...how, reduceRange, nonFinite });
    const finite = finiteScales(weightTypeOf(this.constant), this.recipe, found.q.scale, found.q.zeroPoint);
    const zeroPoint = this.#zeroPoints(found.q.zeroPoint);
    if (finite || zeroPoint !== found.q.zeroPoint) {
      found = engine.quantizeMeasured(values, { ...how, scale: finite ?? found.q.scale, zeroPoint });
    }
    const { q, loss } = found;
    const codes = bytesOf(q.data);
    const bytes: [Pending, Uint8Array][] = [
      [this.codes, this.form.swapsLast ? swapLast(codes, shape) : codes],
      [this.scale, bytesOf(q.scale)],
    ];
    if (this.zeroPoint) {
      const zeros = this.form.zeroPoint === undefined ? q.zeroPoint : q.zeroPoint.subarray(0, 1);
      bytes.push([this.zeroPoint, zeroPointBytes(dtype, zeros)]);
    }
    return { loss, bytes };
  }

  /** A group of zeros has a zero point of 0, even where the others have another. */
  #zeroPoints(found: Int32Array): Int32Array {
    const { zeroPoint } = this.form;
    if (zeroPoint === undefined || found.every((zero) => zero === zeroPoint)) return found;
    return new Int32Array(found.length).fill(zeroPoint);
  }
}

/** Signed symmetric codes have a zero point of 0, which need not be said. */
function hasZeroPoint({ scheme, dtype }: Recipe): boolean {
  return scheme !== "symmetric" || !codeTypes[dtype].signed;
}

/** Zero points are of the codes' type, 4-bit ones two to a byte like them. */
function zeroPointBytes(dtype: CodeDType, zeroPoint: Int32Array): Uint8Array {
  const { bits, array } = codeTypes[dtype];
  if (bits !== 4) return bytesOf(array.from(zeroPoint));
  const bytes = new Uint8Array(Math.ceil(zeroPoint.length / 2));
  zeroPoint.forEach((zero, i) => {
    bytes[i >> 1]! |= (zero & 15) << (4 * (i % 2));
  });
  return bytes;
}

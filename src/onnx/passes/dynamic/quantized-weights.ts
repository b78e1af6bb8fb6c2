import { scaleShapeOf } from "../../../engine/tensors/granularity.ts";
import { elementsOf } from "../../../engine/tensors/shape.ts";
import { type IntegerForm, IntegerJob } from "../../codecs/integer-codec.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { makeTensor } from "../../ir/graph.ts";
import type { WeightQuantization } from "../../weights/weight-granularity.ts";
import type { WeightUsage } from "../weight-usage.ts";
import type { Quantized } from "./quantized-activations.ts";

/** How a weight is stored for a node. */
export interface Storage {
  readonly quantization: Omit<WeightQuantization, "groups">;
  /** The codes' shape. Default: the weight's own; with the last two axes swapped where the form says so. */
  readonly shape?: readonly number[];
  /** The shape of scale and zero point. Default: that of the groups. */
  readonly scaleShape?: readonly number[];
  readonly form?: Omit<IntegerForm, "storesZeros">;
}

/** A weight as it is stored: names of its tensors. */
export interface Stored extends Quantized {
  readonly job: IntegerJob;
}

/** Weights stored as codes, scale and zero point: once for all nodes that take them alike. */
export class StoredWeights {
  readonly #stored = new Map<WeightUsage, Map<string, Stored>>();

  constructor(private readonly names: FreshNames) {}

  /** @param constant the weight in the shape that it is taken in; default: its own */
  store(usage: WeightUsage, storage: Storage, constant = usage.constant): Stored {
    const { shape } = constant.tensor;
    const key = JSON.stringify([storage, shape]);
    const own = this.#stored.get(usage) ?? new Map<string, Stored>();
    this.#stored.set(usage, own);
    const there = own.get(key);
    if (there) return there;
    const { quantization, form } = storage;
    const groups = scaleShapeOf(shape, quantization.granularity);
    const job = new IntegerJob(
      constant,
      { ...quantization, groups: elementsOf(groups) },
      { ...form, storesZeros: true },
    );
    const scaleShape = storage.scaleShape ?? groups;
    const zeroShape = form?.zeroPoint === undefined ? scaleShape : [];
    const add = (
      suffix: string,
      ...[type, dims, data]: [Parameters<typeof makeTensor>[1], readonly number[], typeof job.codes]
    ) => {
      const name = this.names.fresh(`${constant.name}_${suffix}`);
      usage.tensors.push(makeTensor(name, type, dims, data));
      return name;
    };
    const stored = {
      job,
      scale: add("scale", "float32", scaleShape, job.scale),
      zeroPoint: add("zero_point", quantization.dtype, zeroShape, job.zeroPoint!),
      codes: add("quantized", quantization.dtype, storage.shape ?? shape, job.codes),
    };
    usage.jobs.push(job);
    own.set(key, stored);
    return stored;
  }

  /** A form with the constant's own shape and one scale, which any node may take. */
  plain(usage: WeightUsage): Stored | undefined {
    return this.#straight(usage).find(({ job }) => job.quantization.granularity.axis === undefined);
  }

  /** A form that DequantizeLinear restores the constant from: with one scale, or from opset 13 on with scales along an axis. */
  straight(usage: WeightUsage, hasAxis: boolean): Stored | undefined {
    const scaled = ({ job: { form, quantization } }: Stored) =>
      typeof quantization.granularity.axis === "number" && form.zeroPoint === undefined;
    return this.plain(usage) ?? (hasAxis ? this.#straight(usage).find(scaled) : undefined);
  }

  #straight(usage: WeightUsage): Stored[] {
    const isStraight = ({ job }: Stored) => !job.form.swapsLast && job.constant === usage.constant;
    return Array.from(this.#stored.get(usage)?.values() ?? []).filter(isStraight);
  }
}

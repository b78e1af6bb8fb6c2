import type { Engine } from "../engine/engine.ts";
import type { Bounds } from "../engine/range-search/bounds.ts";
import { boundsOfHistogram } from "../engine/range-search/find-best-range.ts";
import { Histogram } from "../engine/range-search/histogram.ts";
import { leastErrorOfHistogram } from "../engine/range-search/histogram-error.ts";
import { checkKeys, checkWhole, planCodes } from "../engine/tensors/quantize-options.ts";
import { type RangeRule, rangeRuleOf } from "../engine/tensors/range-method.ts";
import type { ResidentTensor } from "../engine/tensors/resident-tensor.ts";
import type { SchemeOptions, ValueRange } from "../engine/tensors/schemes.ts";
import type { FloatTensor } from "../engine/tensors/tensor.ts";
import { ArgumentError } from "../errors.ts";
import { MovingAverage } from "./moving-average.ts";
import type { ObserverOptions } from "./observer-options.ts";
import {
  checkState,
  type GroupState,
  histogramOfState,
  type ObserverState,
  stateOfHistogram,
} from "./observer-state.ts";

/** What was seen of one group. */
interface Group {
  min: number;
  max: number;
  readonly histogram?: Histogram | undefined;
  readonly averages?: readonly [min: MovingAverage, max: MovingAverage] | undefined;
}

/**
 * Watches tensors pass by and tells what range they should be quantized over. It keeps extremes, averages or a histogram of
 * 8,192 bins for each group (64 KB), however many tensors come. But for `moving-average`, which depends on the order of the
 * tensors, any split of the data and any order of merging gives the same range.
 *
 * Made by `createObserver`.
 */
export class Observer {
  readonly #engine: Engine;
  readonly #options: ObserverOptions;
  readonly #rule: RangeRule | undefined;
  readonly #how: SchemeOptions;
  #groups: Group[] = [];

  /** @internal */
  constructor(engine: Engine, options: ObserverOptions) {
    checkKeys(options, ["method", "axis", "dtype", "scheme", "reduceRange", "narrowRange"]);
    const { method = "minmax" } = options;
    checkWhole("axis", options.axis);
    this.#engine = engine;
    this.#options = { ...options };
    this.#rule = method === "moving-average" ? undefined : rangeRuleOf("method", method);
    this.#how = { ...planCodes(options), blocks: false };
  }

  /**
   * Takes a tensor into account. Tensors may differ in shape, but with `axis` not in the number of channels. An empty one
   * changes nothing.
   *
   * @throws ArgumentError, NonFiniteError: the observer is as it was before then
   */
  observe(tensor: FloatTensor | ResidentTensor): void {
    const { axis } = this.#options;
    const { min, max } = this.#engine.range(tensor, { axis });
    if (tensor.shape.includes(0)) return;
    this.#checkGroups(min.length);
    if (this.#groups.length === 0) this.#groups = Array.from(min, (low, i) => this.#newGroup(low, max[i]!));
    for (const [i, group] of this.#groups.entries()) {
      widen(group, { min: min[i]!, max: max[i]! });
      group.averages?.[0].add(min[i]!);
      group.averages?.[1].add(max[i]!);
    }
    const histograms = this.#groups.flatMap(({ histogram }) => (histogram ? [histogram] : []));
    if (histograms.length > 0) this.#engine.countValues(tensor, { axis }, histograms);
  }

  /**
   * Takes into account what another observer has seen, `moving-average` as later than its own.
   *
   * @throws ArgumentError unless both have the same options and channels
   */
  merge(other: Observer): void {
    if (JSON.stringify(this.#choices) !== JSON.stringify(other.#choices)) {
      throw new ArgumentError("other", "observes with other options");
    }
    if (other.#groups.length === 0) return;
    this.#checkGroups(other.#groups.length);
    if (this.#groups.length === 0) {
      this.#groups = other.#groups.map(({ min, max }) => this.#newGroup(min, max));
    }
    for (const [i, group] of this.#groups.entries()) {
      const its = other.#groups[i]!;
      widen(group, its);
      group.histogram?.merge(its.histogram!);
      group.averages?.[0].append(its.averages![0]);
      group.averages?.[1].append(its.averages![1]);
    }
  }

  /** Options as they come out, said or not. */
  get #choices(): unknown {
    const { dtype, scheme, reduceRange, narrowRange } = this.#how;
    return [this.#rule?.name, this.#rule?.percentile, this.#options.axis, dtype, scheme, reduceRange, narrowRange];
  }

  /**
   * The range that the method chooses over all that was observed, one for each group.
   *
   * @throws ArgumentError when nothing was observed
   */
  range(): ValueRange {
    if (this.#groups.length === 0) throw new ArgumentError("observer", "has observed no values");
    const bounds = this.#groups.map((group) => this.#boundsOf(group));
    // A bound of zero is +0, also where float32 has nothing else that is as small.
    const zeroed = (bound: number) => Math.fround(bound) + 0;
    return {
      min: Float32Array.from(bounds, ({ min }) => zeroed(min)),
      max: Float32Array.from(bounds, ({ max }) => zeroed(max)),
    };
  }

  #boundsOf({ min, max, histogram, averages }: Group): Bounds {
    if (averages) return { min: averages[0].value, max: averages[1].value };
    if (!histogram) return { min, max };
    const rule = this.#rule!;
    if (rule.name === "mse") return leastErrorOfHistogram(histogram, { min, max }, this.#how);
    return boundsOfHistogram(histogram, { min, max }, { ...this.#how, rule });
  }

  /** What `Observer.fromJSON` takes: for files, and for other threads. */
  toJSON(): ObserverState {
    const groups = this.#groups.map(({ min, max, histogram, averages }): GroupState => {
      if (histogram) return { min, max, histogram: stateOfHistogram(histogram) };
      return averages ? { min, max, averages: [averages[0].toJSON(), averages[1].toJSON()] } : { min, max };
    });
    return { version: 1, options: this.#options, groups };
  }

  /** An observer that has seen what another had. @throws ArgumentError for what `toJSON` did not write */
  static fromJSON(engine: Engine, state: unknown): Observer {
    const { options, groups } = checkState(state);
    const observer = new Observer(engine, options);
    observer.#groups = groups.map(({ min, max, histogram, averages }) => {
      const group = observer.#newGroup(min, max);
      if (Boolean(group.histogram) !== Boolean(histogram) || Boolean(group.averages) !== Boolean(averages)) {
        throw new ArgumentError("state", "is not what Observer.toJSON() wrote: it does not have what the method needs");
      }
      return {
        ...{ min, max },
        histogram: histogram && histogramOfState(histogram),
        averages: averages && [MovingAverage.from(averages[0]), MovingAverage.from(averages[1])],
      };
    });
    return observer;
  }

  #newGroup(min: number, max: number): Group {
    const rule = this.#rule;
    if (!rule) return { min, max, averages: [MovingAverage.empty(), MovingAverage.empty()] };
    return rule.name === "minmax" ? { min, max } : { min, max, histogram: Histogram.upTo(Math.max(-min, max)) };
  }

  #checkGroups(count: number): void {
    const known = this.#groups.length;
    if (known === 0 || known === count) return;
    throw new ArgumentError("tensor", `expected ${known} channels, as before; got ${count}`);
  }
}

function widen(group: Group, { min, max }: Bounds): void {
  group.min = Math.min(group.min, min);
  group.max = Math.max(group.max, max);
  group.histogram?.widen(Math.max(-min, max));
}

/**
 * An observer for activations or any other tensors that pass by.
 *
 * ```ts
 * const observer = createObserver(engine, { method: "percentile=99.9" });
 * for (const activation of activations) observer.observe(activation);
 * engine.quantize(x, { dtype: "uint8", range: observer.range() });
 * ```
 *
 * @throws ArgumentError
 */
export function createObserver(engine: Engine, options: ObserverOptions = {}): Observer {
  return new Observer(engine, options);
}

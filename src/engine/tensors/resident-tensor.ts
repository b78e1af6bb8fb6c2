/// <reference lib="esnext.disposable" preserve="true" />
import { type ArrayOf, byteLengthOf, type DType, dtypes, type FloatDType, type IntegerDType } from "../../dtypes.ts";
import { MemoryError } from "../../errors.ts";
import type { LinearMemory } from "../../kernels/memory.ts";
import type { Axis } from "./granularity.ts";
import type { SchemeName } from "./schemes.ts";
import { elementsOf } from "./shape.ts";
import type { QuantizedTensor } from "./tensor.ts";

/** Safari has no Symbol.dispose yet; the method then hides behind a symbol of ours. */
const dispose: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for("wasm-quant.dispose") as typeof Symbol.dispose);

/** A tensor that lives in linear memory, where kernels reach it without a copy, until `dispose()`. */
abstract class Resident<D extends DType> {
  readonly #memory: LinearMemory;
  readonly #address: number;
  readonly #borrowed: boolean;
  #disposed = false;

  /** `home` is another resident's address, which is then lived at and not given back. */
  constructor(
    memory: LinearMemory,
    readonly dtype: D,
    readonly shape: readonly number[],
    home?: number,
  ) {
    this.#memory = memory;
    this.#borrowed = home !== undefined;
    this.#address = home ?? memory.allocate(byteLengthOf(dtype, elementsOf(shape)));
  }

  /**
   * The elements as they lie in linear memory, writable. Memory that grows leaves such views empty behind: ask anew rather
   * than keep one.
   *
   * @throws MemoryError after `dispose()`.
   */
  get data(): ArrayOf<D> {
    const { array, bits } = dtypes[this.dtype];
    const elements = elementsOf(this.shape);
    const length = bits === 4 ? byteLengthOf(this.dtype, elements) : elements;
    const view: ArrayBufferView = this.#memory.view<ArrayBufferView>(array, this.address, length);
    return view as ArrayOf<D>;
  }

  /** @internal */
  get address(): number {
    if (this.#disposed) throw new MemoryError("resident tensor: used after dispose()");
    return this.#address;
  }

  /** @internal */
  livesIn(memory: LinearMemory): boolean {
    return memory === this.#memory;
  }

  /** Gives the memory back. Harmless when done already. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (!this.#borrowed) this.#memory.free(this.#address);
  }

  [dispose](): void {
    this.dispose();
  }
}

/** A float tensor in linear memory. */
export class ResidentTensor<D extends FloatDType = FloatDType> extends Resident<D> {
  /** What errors call it. */
  name?: string | undefined;
}

/** Codes in linear memory; their scales and zero points are ordinary arrays. */
export class ResidentQuantizedTensor<D extends IntegerDType = IntegerDType>
  extends Resident<D>
  implements QuantizedTensor<D>
{
  readonly scale!: Float32Array;
  readonly zeroPoint!: Int32Array;
  readonly axis?: Axis | undefined;
  readonly blockSize?: number | undefined;
  readonly scheme!: SchemeName;
  readonly min?: Float32Array | undefined;

  constructor(
    memory: LinearMemory,
    dtype: D,
    shape: readonly number[],
    how: Omit<QuantizedTensor<D>, "dtype" | "shape" | "data">,
  ) {
    super(memory, dtype, shape);
    Object.assign(this, how);
  }
}

export function isResident(tensor: object): tensor is ResidentTensor | ResidentQuantizedTensor {
  return tensor instanceof Resident;
}

/** Gives back the memory of a tensor, if it is a resident. */
export function release(tensor: object): void {
  if (isResident(tensor)) tensor.dispose();
}

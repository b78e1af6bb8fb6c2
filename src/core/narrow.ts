import type { HalfDType } from "../dtypes.ts";
import { TILE } from "../kernels/memory.ts";
import type { Machine } from "./machine.ts";
import { type Operand, sourceOf } from "./operands.ts";
import { elementsOf } from "./shape.ts";
import { bytesOf } from "./tensor.ts";

/** What half precision cannot hold of a tensor. */
export interface Narrowed {
  /** Finite values that became infinite, and the first of them. */
  readonly overflows: number;
  readonly first?: { readonly index: number; readonly value: number } | undefined;
  /** NaN and infinities, which stay. */
  readonly nonFinite: number;
  /** Values other than 0 that became 0. */
  readonly zeros: number;
  /** Values that have fewer bits, being smaller than the smallest normal number. */
  readonly subnormals: number;
}

/** All bits of the exponent, which are those of infinity, and its lowest, which is the smallest normal number. */
const exponents = { float16: { all: 0x7c00, lowest: 0x0400 }, bfloat16: { all: 0x7f80, lowest: 0x0080 } } as const;

/** Of two halves in a word. */
const twice = (bits: number) => bits * 0x10001;

/** Writes the bits of the nearest halves of `values`, of two the even one, to `out`; counts what they do not hold. */
export function narrow(
  machine: Machine,
  values: Operand & { readonly shape: readonly number[] },
  dtype: HalfDType,
  out: Uint16Array,
): Narrowed {
  const { kernels, memory } = machine;
  const convert = dtype === "float16" ? kernels.convertF32F16 : kernels.convertF32BF16;
  const source = sourceOf(machine, values, "values");
  const bytes = bytesOf(out);
  const elements = elementsOf(values.shape);
  const { raw } = memory.tiles;
  const count = new Count(dtype);
  for (let start = 0; start < elements; start += TILE) {
    const length = Math.min(TILE, elements - start);
    const from = source.address(start, length);
    convert(from, raw, length);
    bytes.set(memory.view(Uint8Array, raw, 2 * length), 2 * start);
    // A word more than is there reads what lay in the tile before.
    const words = memory.view(Int32Array, raw, Math.ceil(length / 2));
    count.look(words, memory.view(Float32Array, from, length), start);
  }
  return count.result;
}

class Count {
  readonly #all: number;
  readonly #lowest: number;
  #overflows = 0;
  #first: Narrowed["first"];
  #nonFinite = 0;
  #zeros = 0;
  #subnormals = 0;

  constructor(dtype: HalfDType) {
    this.#all = exponents[dtype].all;
    this.#lowest = exponents[dtype].lowest;
  }

  get result(): Narrowed {
    return {
      overflows: this.#overflows,
      first: this.#first,
      nonFinite: this.#nonFinite,
      zeros: this.#zeros,
      subnormals: this.#subnormals,
    };
  }

  /**
   * Two halves at a time: an exponent of all bits or of none, and no other, has no bit but its lowest left once 1 is added
   * to it; the carry stays within the half, where the sign was.
   */
  look(words: Int32Array, values: Float32Array, start: number): void {
    const [exponent, one] = [twice(this.#all), twice(this.#lowest)];
    const low = this.#all & ~this.#lowest;
    const high = low << 16;
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      const next = ((word & exponent) + one) | 0;
      if ((next & low) !== 0 && (next & high) !== 0) continue;
      this.#note(word & 0x7fff, values[2 * i]!, start + 2 * i);
      if (2 * i + 1 < values.length) this.#note((word >>> 16) & 0x7fff, values[2 * i + 1]!, start + 2 * i + 1);
    }
  }

  #note(magnitude: number, value: number, index: number): void {
    if (magnitude === 0) this.#zeros += value === 0 ? 0 : 1;
    else if (magnitude < this.#lowest) this.#subnormals++;
    else if (magnitude >= this.#all) {
      if (Number.isFinite(value)) {
        this.#overflows++;
        this.#first ??= { index, value };
      } else this.#nonFinite++;
    }
  }
}

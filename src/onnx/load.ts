import type { Engine } from "../core/engine.ts";
import type { ResidentTensor } from "../core/resident.ts";
import { bytesOf, type FloatTensor } from "../core/tensor.ts";
import type { FloatDType } from "../dtypes.ts";
import { FormatError, isWasmQuantError } from "../errors.ts";
import { type FloatName, floatTensorOf } from "../formats/floats.ts";
import { bytesOfTensor, type Place, type TensorFiles } from "./data.ts";
import type { Tensor } from "./graph.ts";

const floatNames: Readonly<Partial<Record<string, FloatName>>> = {
  float16: "F16",
  bfloat16: "BF16",
  float32: "F32",
  float64: "F64",
};

/** A tensor to be loaded: a weight goes by its value's name. */
export interface Wanted {
  readonly name: string;
  readonly tensor: Tensor;
}

/** Loads a float tensor of a model into an array. */
export async function loadTensor(files: TensorFiles, { name, tensor }: Wanted): Promise<FloatTensor> {
  const { type, shape } = tensor;
  return floatTensorOf(files.source.name, await files.read(tensor), { name, dtype: floatNames[type!]!, shape });
}

/** Up to this many bytes are read ahead of the tensor at hand. */
const AHEAD = 1 << 25;

/**
 * Loads tensors one after the other, the next while the one at hand is worked on. Where a file can be read to a place,
 * that is linear memory: two places, made beforehand, so that memory does not grow while it is being read to.
 */
export class Loader {
  readonly #slots: readonly (ResidentTensor | undefined)[];
  #next = 0;
  #coming: Promise<FloatTensor | ResidentTensor> | undefined;
  #slot = 0;

  constructor(
    private readonly engine: Engine,
    private readonly files: TensorFiles,
    private readonly wanted: readonly Wanted[],
  ) {
    const sizes = wanted.flatMap(({ tensor }) => (this.#readable(tensor) ? [bytesOfTensor(tensor)] : []));
    const most = (sizes: readonly number[]) => sizes.reduce((a, b) => Math.max(a, b), 0);
    const second = sizes.length > 1 ? most(sizes.filter((size) => size <= AHEAD)) : 0;
    this.#slots = [most(sizes), second].map((bytes) => this.#reserve(bytes));
  }

  /** The next tensor, valid until the one after it is asked for. */
  async next(): Promise<FloatTensor | ResidentTensor> {
    const tensor = await (this.#coming ?? this.#load(this.#next));
    this.#next++;
    const following = this.wanted[this.#next];
    this.#coming = following && this.#fits(following.tensor) ? this.#load(this.#next) : undefined;
    this.#coming?.catch(() => {}); // heard of when it is asked for
    return tensor;
  }

  /** Gives the memory back, once nothing is read to it any more. */
  async dispose(): Promise<void> {
    await this.#coming?.catch(() => {});
    for (const slot of this.#slots) slot?.dispose();
  }

  /** Whether a tensor can be read ahead: to the place that is free. */
  #fits(tensor: Tensor): boolean {
    const size = bytesOfTensor(tensor);
    if (!this.#readable(tensor)) return size <= AHEAD;
    const free = this.#slots[1 - this.#slot];
    return free !== undefined && size <= free.data.byteLength;
  }

  async #load(index: number): Promise<FloatTensor | ResidentTensor> {
    const wanted = this.wanted[index]!;
    const { name, tensor } = wanted;
    const place = this.#readable(tensor);
    if (!place) return loadTensor(this.files, wanted);
    const other = this.#slots[1 - this.#slot];
    const size = bytesOfTensor(tensor);
    if (other && size <= other.data.byteLength) this.#slot = 1 - this.#slot;
    const slot = this.#slots[this.#slot];
    if (!slot || size > slot.data.byteLength) return loadTensor(this.files, wanted);
    const resident = this.engine.reserve(tensor.type as FloatDType, tensor.shape, slot);
    resident.name = name;
    const { source, start, end } = place;
    const filled = await source.read!(start, bytesOf(resident.data));
    if (filled === end - start) return resident;
    throw new FormatError(source.name, `bytes ${start} to ${end} gave ${filled} bytes, not ${end - start}`, name);
  }

  #readable(tensor: Tensor): Place | undefined {
    const place = this.files.placeOf(tensor);
    return place?.source.read && tensor.type !== "float64" ? place : undefined;
  }

  #reserve(bytes: number): ResidentTensor | undefined {
    if (bytes === 0) return undefined;
    try {
      return this.engine.reserve("float32", [Math.ceil(bytes / 4)]);
    } catch (error) {
      if (isWasmQuantError(error, "memory")) return undefined; // arrays need no room there
      throw error;
    }
  }
}

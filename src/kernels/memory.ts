import { MemoryError } from "../errors.ts";

/** Elements in a tile: 256 KiB of float32, which stays in a core's second-level cache with its codes. */
export const TILE = 65536;

const PAGE = 65536;
const MAX_PAGES = 65536;
const ALIGNMENT = 64;

/** Fixed regions through which arrays from outside linear memory pass; each holds `TILE` elements. */
export interface Tiles {
  /** float32 in. */
  readonly values: number;
  /** float32 out, or a second operand; twice as long, so that pieces of any length can be strung together there. */
  readonly others: number;
  /** Codes, up to 4 bytes each. */
  readonly codes: number;
  /** Bytes as they lie outside: half-precision floats, packed nibbles. */
  readonly raw: number;
  /** Two parameters for each group, 4 bytes each: scale and zero point, minimum and maximum. */
  readonly first: number;
  readonly second: number;
  /** The same for what is restored on the way. */
  readonly third: number;
  readonly fourth: number;
  /** Float64 sums: 5 for each of `TILE / 8` groups. */
  readonly sums: number;
}

const tileSizes: readonly (readonly [keyof Tiles, number])[] = [
  ["values", TILE * 4],
  ["others", TILE * 4 * 2],
  ["codes", TILE * 4],
  ["raw", TILE * 2],
  ["first", TILE * 4],
  ["second", TILE * 4],
  ["third", TILE * 4],
  ["fourth", TILE * 4],
  ["sums", (TILE / 8) * 5 * 8],
];

type TypedArrayConstructor<T> = new (buffer: ArrayBuffer, byteOffset: number, length: number) => T;

interface Block {
  address: number;
  size: number;
}

/**
 * Linear memory as bytes: the tiles, then a heap for residents. Growth detaches every view, so views are made where they
 * are used and kept by nobody.
 */
export class LinearMemory {
  readonly memory: WebAssembly.Memory;
  readonly tiles: Tiles;
  /** Free blocks by address, none next to another. */
  #free: Block[] = [];
  #taken = new Map<number, number>();
  #end: number;

  constructor() {
    let end = ALIGNMENT; // address 0 stays unused
    const tiles = {} as Record<keyof Tiles, number>;
    for (const [name, size] of tileSizes) {
      tiles[name] = end;
      end = roundUp(end + size);
    }
    this.tiles = tiles;
    this.#end = end;
    try {
      this.memory = new WebAssembly.Memory({ initial: Math.ceil(end / PAGE), maximum: MAX_PAGES });
    } catch (cause) {
      throw new MemoryError(`linear memory: the system gives no ${end} bytes for tiles`, { cause });
    }
  }

  /** `length` elements at `address`, for use at once: the next allocation may detach it. */
  view<T>(Type: TypedArrayConstructor<T>, address: number, length: number): T {
    return new Type(this.memory.buffer as ArrayBuffer, address, length);
  }

  /**
   * Bytes on the heap, aligned to 64; their content is whatever lay there.
   *
   * @throws MemoryError for a size that is not finite or below 0, when 4 GiB are not enough, or the engine gives no more;
   * nothing has changed then.
   */
  allocate(byteLength: number): number {
    const size = Math.max(blockSizeFor(byteLength), ALIGNMENT);
    const index = this.#free.findIndex((block) => block.size >= size);
    if (index >= 0) {
      const block = this.#free[index]!;
      const { address } = block;
      if (block.size === size) this.#free.splice(index, 1);
      else {
        block.address += size;
        block.size -= size;
      }
      this.#taken.set(address, size);
      return address;
    }
    return this.#extend(size);
  }

  /**
   * Makes sure that so many bytes can be allocated without growth.
   *
   * @throws MemoryError as `allocate` does
   */
  ensure(byteLength: number): void {
    this.free(this.#extend(blockSizeFor(byteLength)));
  }

  /** Gives a block back. */
  free(address: number): void {
    const size = this.#taken.get(address);
    if (size === undefined) return;
    this.#taken.delete(address);
    const at = this.#free.findIndex((block) => block.address > address);
    const index = at < 0 ? this.#free.length : at;
    this.#free.splice(index, 0, { address, size });
    this.#join(index);
    this.#join(index - 1);
    const last = this.#free.at(-1);
    if (last && last.address + last.size === this.#end) {
      this.#free.pop();
      this.#end = last.address;
    }
  }

  /** Joins a free block with its successor where they touch. */
  #join(index: number): void {
    const block = this.#free[index];
    const next = this.#free[index + 1];
    if (block && next && block.address + block.size === next.address) {
      block.size += next.size;
      this.#free.splice(index + 1, 1);
    }
  }

  #extend(size: number): number {
    const address = this.#end;
    const missing = address + size - this.memory.buffer.byteLength;
    if (missing > 0) {
      try {
        this.memory.grow(Math.ceil(missing / PAGE));
      } catch (cause) {
        throw new MemoryError(
          `linear memory: ${size} bytes asked for, ${address} of at most ${MAX_PAGES * PAGE} in use; ` +
            "dispose of tensors no longer needed, or pass an ordinary array, which needs no room there",
          { cause },
        );
      }
    }
    this.#end = address + size;
    this.#taken.set(address, size);
    return address;
  }
}

/** The size of a block of so many bytes. A NaN here would put every later block at address 0. */
function blockSizeFor(byteLength: number): number {
  if (Number.isFinite(byteLength) && byteLength >= 0) return roundUp(byteLength);
  throw new MemoryError(`linear memory: expected a finite size of at least 0 bytes; got ${String(byteLength)}`);
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

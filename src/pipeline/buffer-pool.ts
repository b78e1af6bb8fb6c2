import type { Engine } from "../engine/engine.ts";

/** Bytes that are lent for one tensor at a time, as many as the longest needs: fresh ones would cost page faults. */
export class Shelf {
  #buffer = new ArrayBuffer(0);

  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (this.#buffer.byteLength < length) this.#buffer = new ArrayBuffer(length);
    return new Uint8Array(this.#buffer, 0, length);
  }
}

const shelves = new WeakMap<Engine, Shelf[]>();

/** Lends one of an engine's shelves. */
export async function withShelf(engine: Engine, use: (shelf: Shelf) => Promise<void>): Promise<void> {
  const free = shelves.get(engine) ?? [];
  shelves.set(engine, free);
  const shelf = free.pop() ?? new Shelf();
  try {
    await use(shelf);
  } finally {
    free.push(shelf);
  }
}

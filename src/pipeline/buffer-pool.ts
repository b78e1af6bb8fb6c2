import type { Engine } from "../engine/engine.ts";

/** Bytes that are lent for one tensor at a time, as many as the longest needs: fresh ones would cost page faults. */
export class BufferPool {
  #buffer = new ArrayBuffer(0);

  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (this.#buffer.byteLength < length) this.#buffer = new ArrayBuffer(length);
    return new Uint8Array(this.#buffer, 0, length);
  }
}

const shelves = new WeakMap<Engine, BufferPool[]>();

/** Lends one of an engine's shelves. */
export async function withBufferPool(engine: Engine, use: (buffers: BufferPool) => Promise<void>): Promise<void> {
  const free = shelves.get(engine) ?? [];
  shelves.set(engine, free);
  const buffers = free.pop() ?? new BufferPool();
  try {
    await use(buffers);
  } finally {
    free.push(buffers);
  }
}

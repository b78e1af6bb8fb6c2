import type { Engine } from "../engine/engine.ts";

/** Output buffers that are used again, as long as the longest tensor needs: fresh ones would cost page faults. */
export class BufferPool {
  #buffer = new ArrayBuffer(0);

  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (this.#buffer.byteLength < length) this.#buffer = new ArrayBuffer(length);
    return new Uint8Array(this.#buffer, 0, length);
  }
}

const pools = new WeakMap<Engine, BufferPool[]>();

/** One of an engine's buffer pools, for one task at a time until it is given back. */
export function borrowBuffers(engine: Engine): BufferPool {
  return pools.get(engine)?.pop() ?? new BufferPool();
}

export function giveBuffersBack(engine: Engine, buffers: BufferPool): void {
  const free = pools.get(engine);
  if (free) free.push(buffers);
  else pools.set(engine, [buffers]);
}

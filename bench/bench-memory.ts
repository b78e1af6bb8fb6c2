import { readFile } from "node:fs/promises";
import { Engine } from "../src/engine/engine.ts";
import type { ResidentTensor } from "../src/engine/tensors/resident-tensor.ts";
import type { Kernels } from "../src/kernels/abi.ts";
import { compileKernels, loadKernels } from "../src/kernels/load.ts";
import { LinearMemory } from "../src/kernels/memory.ts";
import { blocks, fillWith, GAP } from "./kernel-data.ts";

/** The module, an engine and the yardstick over one memory. */
export interface BenchMemory {
  readonly memory: LinearMemory;
  readonly kernels: Kernels;
  readonly engine: Engine;
  copy(dst: number, src: number, bytes: number): void;
}

export async function createBed(): Promise<BenchMemory> {
  const memory = new LinearMemory();
  const candidates = await readFile(new URL("build/candidates.wasm", import.meta.url));
  const { instance } = await WebAssembly.instantiate(candidates, { env: { memory: memory.memory } });
  const kernels = await loadKernels(await compileKernels(), memory.memory);
  return {
    memory,
    kernels,
    engine: new Engine({ kernels, memory }, "simd"),
    copy: instance.exports.copy as BenchMemory["copy"],
  };
}

/** A float32 tensor in linear memory, and the yardstick: moving its bytes to a place of their own. */
export interface Ground {
  readonly x: ResidentTensor<"float32">;
  readonly bytes: number;
  readonly copy: () => number;
  free(): void;
}

export function groundOf({ memory, engine, copy }: BenchMemory, shape: readonly number[]): Ground {
  const x = engine.allocate("float32", shape);
  const bytes = x.data.byteLength;
  fillWith(x.data, blocks.values);
  const place = memory.allocate(GAP + bytes);
  return {
    x,
    bytes,
    copy: () => {
      copy(place + GAP, x.address, bytes);
      return 0;
    },
    free: () => {
      memory.free(place);
      x.dispose();
    },
  };
}

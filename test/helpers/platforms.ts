import type { Kernels } from "../../src/kernels/abi.ts";
import { compileKernels, loadKernels } from "../../src/kernels/load.ts";
import { LinearMemory } from "../../src/kernels/memory.ts";
import { createTwin } from "../../src/kernels/twin/index.ts";

export interface Platform {
  readonly memory: LinearMemory;
  readonly kernels: Kernels;
}

/** The module and its twin, each over a memory of its own. */
export async function platforms(): Promise<{ simd: Platform; twin: Platform }> {
  const memory = new LinearMemory();
  const twinMemory = new LinearMemory();
  return {
    simd: { memory, kernels: await loadKernels(await compileKernels(), memory.memory) },
    twin: { memory: twinMemory, kernels: createTwin(twinMemory.memory) },
  };
}

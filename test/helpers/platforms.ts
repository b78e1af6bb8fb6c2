import type { Kernels } from "../../src/kernels/abi.ts";
import { compileKernels, loadKernels } from "../../src/kernels/load.ts";
import { LinearMemory } from "../../src/kernels/memory.ts";
import { createReference } from "../../src/kernels/reference/create-reference.ts";

export interface Platform {
  readonly memory: LinearMemory;
  readonly kernels: Kernels;
}

/**
 * The module and the reference kernels, each over a memory of its own. WASM_QUANT_KERNELS names another module than the
 * published one: dist/kernels.debug.wasm, say, which `npm run debug:wasm` makes.
 */
export async function platforms(): Promise<{ simd: Platform; reference: Platform }> {
  const memory = new LinearMemory();
  const referenceMemory = new LinearMemory();
  return {
    simd: { memory, kernels: await loadKernels(await compileKernels(process.env.WASM_QUANT_KERNELS), memory.memory) },
    reference: { memory: referenceMemory, kernels: createReference(referenceMemory.memory) },
  };
}

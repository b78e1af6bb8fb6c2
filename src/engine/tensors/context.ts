import type { Kernels } from "../../kernels/abi.ts";
import type { LinearMemory } from "../../kernels/memory.ts";

/** What every operation works with: the kernels and the memory they see. */
export interface KernelContext {
  readonly kernels: Kernels;
  readonly memory: LinearMemory;
}

import type { KernelContext } from "../tensors/context.ts";
import { isResident, type ResidentTensor } from "../tensors/resident-tensor.ts";
import type { NamedOperand, Operand } from "../tensors/tensor.ts";
import { countOf, tileSourceOf } from "./tile-io.ts";

/** Calls `use` with the address of a tensor's values as float32: where they lie, or a copy that is given back afterwards. */
export function withValues<T>(context: KernelContext, tensor: NamedOperand, use: (address: number) => T): T {
  const { memory } = context;
  if (isResident(tensor) && tensor.dtype === "float32" && tensor.livesIn(memory)) {
    return use((tensor as ResidentTensor).address);
  }
  const copy = memory.allocate(4 * countOf(tensor));
  try {
    eachTile(context, tensor, (at, start, length) => {
      memory.view(Float32Array, copy + 4 * start, length).set(memory.view(Float32Array, at, length));
    });
    return use(copy);
  } finally {
    memory.free(copy);
  }
}

/** Calls `use` with the addresses of so many bytes each, which are given back afterwards. */
export function withScratch<T>(
  { memory }: KernelContext,
  sizes: readonly number[],
  use: (addresses: number[]) => T,
): T {
  const addresses: number[] = [];
  try {
    for (const size of sizes) addresses.push(memory.allocate(size));
    return use(addresses);
  } finally {
    for (const address of addresses) memory.free(address);
  }
}

/** Half precision as float32. */
export function floatsOf(context: KernelContext, tensor: Operand): Float32Array {
  const floats = new Float32Array(countOf(tensor));
  eachTile(context, tensor, (at, start, length) => {
    floats.set(context.memory.view(Float32Array, at, length), start);
  });
  return floats;
}

function eachTile(
  context: KernelContext,
  tensor: Operand,
  visit: (at: number, start: number, length: number) => void,
): void {
  const source = tileSourceOf(context, tensor, "values");
  const n = countOf(tensor);
  for (let start = 0; start < n; start += source.limit) {
    const length = Math.min(source.limit, n - start);
    visit(source.address(start, length), start, length);
  }
}

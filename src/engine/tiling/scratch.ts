import type { Machine } from "../tensors/context.ts";
import { isResident, type ResidentTensor } from "../tensors/resident-tensor.ts";
import type { NamedOperand, Operand } from "../tensors/tensor.ts";
import { countOf, sourceOf } from "./tile-io.ts";

/** Calls `use` with the address of a tensor's values as float32: where they lie, or a copy that is given back afterwards. */
export function withValues<T>(machine: Machine, tensor: NamedOperand, use: (address: number) => T): T {
  const { memory } = machine;
  if (isResident(tensor) && tensor.dtype === "float32" && tensor.livesIn(memory)) {
    return use((tensor as ResidentTensor).address);
  }
  const copy = memory.allocate(4 * countOf(tensor));
  try {
    eachTile(machine, tensor, (at, start, length) => {
      memory.view(Float32Array, copy + 4 * start, length).set(memory.view(Float32Array, at, length));
    });
    return use(copy);
  } finally {
    memory.free(copy);
  }
}

/** Calls `use` with the addresses of so many bytes each, which are given back afterwards. */
export function withRoom<T>({ memory }: Machine, sizes: readonly number[], use: (addresses: number[]) => T): T {
  const addresses: number[] = [];
  try {
    for (const size of sizes) addresses.push(memory.allocate(size));
    return use(addresses);
  } finally {
    for (const address of addresses) memory.free(address);
  }
}

/** Half precision as float32. */
export function floatsOf(machine: Machine, tensor: Operand): Float32Array {
  const floats = new Float32Array(countOf(tensor));
  eachTile(machine, tensor, (at, start, length) => {
    floats.set(machine.memory.view(Float32Array, at, length), start);
  });
  return floats;
}

function eachTile(machine: Machine, tensor: Operand, visit: (at: number, start: number, length: number) => void): void {
  const source = sourceOf(machine, tensor, "values");
  const n = countOf(tensor);
  for (let start = 0; start < n; start += source.limit) {
    const length = Math.min(source.limit, n - start);
    visit(source.address(start, length), start, length);
  }
}

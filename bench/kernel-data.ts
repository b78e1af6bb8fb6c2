import { codeTypes, integerTypes } from "../src/dtypes.ts";
import type { CodeName } from "../src/kernels/abi.ts";
import { type LinearMemory, TILE } from "../src/kernels/memory.ts";
import { normals, randomOf } from "../test/helpers/random.ts";
import type { Codes } from "./plain-loops.ts";

/** How many channels channel-last data has here: the columns kernels get a parameter for each. */
export const COLUMNS = 1024;

/** The most elements of a call, as the engine has it for tensors that live in linear memory. */
export const LIMIT = 16 * TILE;

/** Values of a block, in matrices [N, COLUMNS], or as columns [K, COLUMNS]. */
export const BLOCK = 32;

/** The data are roughly normal; codes and ranges reach from minus this to this. */
export const EDGE = 4;

const random = randomOf(1);

/** What fills the regions, over and over: 4 MiB each, more than a second-level cache holds. */
export const blocks = {
  values: normals(random, 2 ** 20),
  others: normals(random, 2 ** 20),
  bytes: Uint8Array.from({ length: 2 ** 22 }, () => 256 * random()),
};

/** A parameter near `middle` for each column, the same each time. */
export function near(middle: number): Float32Array {
  const random = randomOf(2);
  return Float32Array.from({ length: COLUMNS }, () => middle * (0.9 + 0.2 * random()));
}

/** The types of codes, each with a zero point that is neither 0 nor the middle. */
export const codeKinds = {
  I8: { ...codeTypes.int8, bytes: 1, zeroPoint: -3 },
  U8: { ...codeTypes.uint8, bytes: 1, zeroPoint: 130 },
  I16: { ...codeTypes.int16, bytes: 2, zeroPoint: -300 },
  U16: { ...codeTypes.uint16, bytes: 2, zeroPoint: 33000 },
  I32: { ...integerTypes.int32, bytes: 4, zeroPoint: 0 },
} as const satisfies Record<CodeName | "I32", object>;

export type CodeKind = (typeof codeKinds)[keyof typeof codeKinds];

/** The bytes of `block`, over and over. */
export function fillWith(target: ArrayBufferView, block: ArrayBufferView): void {
  const from = new Uint8Array(block.buffer, block.byteOffset, block.byteLength);
  const to = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
  for (let at = 0; at < to.length; at += from.length) to.set(from.subarray(0, to.length - at), at);
}

/** Bytes between regions: some processors take addresses exactly 256 MiB apart for the same, which costs twice the time. */
export const GAP = 96 * 1024;

/** Linear memory laid out for one size: three regions of `4 * elements` bytes, and the parameters of one kernel. */
export class KernelData {
  readonly elements: number;
  readonly memory: LinearMemory;
  readonly input: number;
  /** Where kernels write, and memory.copy too. */
  readonly output: number;
  /** The second operand of kernels that have two. */
  readonly other: number;

  constructor(memory: LinearMemory, elements: number) {
    this.memory = memory;
    this.elements = elements;
    this.input = memory.allocate(4 * elements + GAP);
    this.output = memory.allocate(4 * elements + GAP);
    this.other = memory.allocate(4 * elements + GAP);
  }

  free(): void {
    for (const address of [this.input, this.output, this.other]) this.memory.free(address);
  }

  fill(address: number, block: ArrayBufferView): void {
    fillWith(this.memory.view(Uint8Array, address, 4 * this.elements), block);
  }

  /** Puts parameters where kernels are told to look for them; what they hold stays as it is given here. */
  parameters(first: Float32Array, second?: Float32Array | Int32Array): void {
    const { tiles } = this.memory;
    this.memory.view(Float32Array, tiles.first, first.length).set(first);
    if (second instanceof Int32Array) this.memory.view(Int32Array, tiles.second, second.length).set(second);
    else if (second) this.memory.view(Float32Array, tiles.second, second.length).set(second);
  }

  floats(address: number, length: number): Float32Array {
    return this.memory.view(Float32Array, address, length);
  }

  codes(kind: CodeKind, address: number, length: number): Codes {
    return this.memory.view<Codes>(kind.array, address, length);
  }
}

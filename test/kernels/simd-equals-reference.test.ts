import { beforeAll, describe, expect, it } from "vitest";
import {
  type CodeName,
  type Columns,
  type KernelName,
  kernelList,
  kernelNames,
  type Rows,
} from "../../src/kernels/abi.ts";
import { type Platform, platforms } from "../helpers/platforms.ts";
import { between, mixed, nonFinite, normals, randomOf } from "../helpers/random.ts";

// Every kernel against its reference: the same input in two memories, then all of the arena compared, so that a byte
// written outside the output shows as well.

const ARENA = 4096;
const ARENA_BYTES = 1 << 20;
/** Of the arena there is as much as the regions take, with this much behind them. */
const BEHIND = 1 << 13;

let simd: Platform;
let reference: Platform;
beforeAll(async () => {
  ({ simd, reference } = await platforms());
});

type Shape = Rows | Columns;

function elementsOf([outer, groups, inner, last, , columns]: Shape): number {
  return outer * ((groups - 1) * inner + last) * (columns ?? 1);
}

function parametersOf([outer, groups, , , step, columns]: Shape): number {
  return (outer - 1) * step + groups * (columns ?? 1);
}

const codeBytes: Record<CodeName | "I32", number> = { I8: 1, U8: 1, I16: 2, U16: 2, I32: 4 };
const codeRange: Record<CodeName, [number, number]> = {
  I8: [-128, 127],
  U8: [0, 255],
  I16: [-32768, 32767],
  U16: [0, 65535],
};

/** What is in an arena before regions are. */
const guards = new Uint8Array(ARENA_BYTES).map((_, i) => (i * 37) & 255);

/** Lays regions out one behind the other, each with guard bytes around it and an offset that leaves it misaligned. */
class Arena {
  #at = ARENA;
  readonly #random: () => number;
  readonly #regions: (readonly [address: number, content: ArrayBufferView])[] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  region(byteLength: number, content?: ArrayBufferView): number {
    const address = this.#at + 32 + between(this.#random, 0, 15);
    if (content) this.#regions.push([address, content]);
    this.#at = address + byteLength + 32;
    if (this.#at + BEHIND > ARENA + ARENA_BYTES) throw new Error("arena too small");
    return address;
  }

  /** Runs the kernel on both sides. */
  compare(name: KernelName, args: number[], what: string): void {
    const length = this.#at + BEHIND - ARENA;
    const results = [simd, reference].map(({ memory, kernels }) => {
      const view = memory.view(Uint8Array, ARENA, length);
      view.set(guards.subarray(0, length));
      for (const [address, { buffer, byteOffset, byteLength }] of this.#regions) {
        view.set(new Uint8Array(buffer, byteOffset, byteLength), address - ARENA);
      }
      const result = (kernels[name] as (...args: number[]) => number | undefined)(...args);
      return { flag: Boolean(result), bytes: view };
    });
    const [ours, theirs] = results as [(typeof results)[0], (typeof results)[0]];
    expect(ours.flag, `${name} ${what}: flag`).toBe(theirs.flag);
    if (Buffer.compare(ours.bytes, theirs.bytes) === 0) return;
    const at = ours.bytes.findIndex((byte, i) => byte !== theirs.bytes[i]);
    expect.fail(
      `${name} ${what}: byte ${at + ARENA} is ${ours.bytes[at]}, reference ${theirs.bytes[at]} (args ${args})`,
    );
  }
}

function floatOffsetArguments(code: CodeName, shape: Shape, random: () => number, arena: Arena): number[] {
  const n = elementsOf(shape);
  const p = parametersOf(shape);
  const [low, highest] = codeRange[code];
  const reduced = random() < 0.3;
  const lowest = reduced && low < 0 ? low / 2 : low;
  const levels = reduced ? Math.floor(highest / 2) - lowest : highest - lowest;
  const mins = normals(random, p, 20);
  const ranges = normals(random, p, 50).map((r) => (random() < 0.1 ? 0 : Math.abs(r)));
  const src = arena.region(4 * n, mixed(random, n, nonFinite));
  const dst = arena.region(codeBytes[code] * n);
  const params = [arena.region(4 * p, ranges), arena.region(4 * p, mins)];
  return [src, dst, ...params, lowest, highest, levels, lowest, ...shape];
}

function dequantizeArguments(
  name: KernelName,
  shape: Shape,
  random: () => number,
  arena: Arena,
  scales: () => number,
): number[] {
  const { family, code } = kernelList[name];
  const n = elementsOf(shape);
  const p = parametersOf(shape);
  const codes = Uint8Array.from({ length: codeBytes[code!] * n }, () => between(random, 0, 255));
  const src = arena.region(codes.length, codes);
  const dst = arena.region(4 * n);
  if (family === "dequantizeFloatOffset") {
    return [src, dst, scales(), arena.region(4 * p, normals(random, p)), codeRange[code as CodeName][0], ...shape];
  }
  const [low, high] = code === "I32" ? [0, 0] : codeRange[code as CodeName];
  const zeroPoints = Int32Array.from({ length: p }, () => between(random, low, high));
  return [src, dst, scales(), arena.region(4 * p, zeroPoints), ...shape];
}

/** Arguments for one call of any kernel over `shape`, with its regions laid out. */
function argumentsOf(name: KernelName, shape: Shape, random: () => number, arena: Arena): number[] {
  const { family, code } = kernelList[name];
  const n = elementsOf(shape);
  const p = parametersOf(shape);
  const floats = (extra: readonly number[] = []) => mixed(random, n, extra);
  const scales = () =>
    arena.region(
      4 * p,
      normals(random, p, 2).map((s) => (random() < 0.2 ? 1 : s || 1)),
    );
  switch (family) {
    case "range":
    case "rangeFinite": {
      const extra = random() < 0.5 || family === "rangeFinite" ? nonFinite : [];
      const src = arena.region(4 * n, floats(extra));
      const mins = arena.region(4 * p, new Float32Array(p).fill(Number.POSITIVE_INFINITY));
      return [src, mins, arena.region(4 * p, new Float32Array(p).fill(Number.NEGATIVE_INFINITY)), ...shape];
    }
    case "absMax": {
      const src = arena.region(4 * n, floats(random() < 0.5 ? nonFinite : []));
      return [src, arena.region(4 * p, new Float32Array(p)), ...shape];
    }
    case "histogram": {
      const bins = 2 * between(random, 1, 40);
      const src = arena.region(4 * n, floats(random() < 0.5 ? nonFinite : []));
      const counts = Uint32Array.from({ length: p * bins }, () => between(random, 0, 9));
      const powers = Float32Array.from(
        { length: p },
        () => 2 ** between(random, -8, 8) * (random() < 0.1 ? 2 ** -100 : 1),
      );
      return [src, arena.region(counts.byteLength, counts), arena.region(4 * p, powers), bins, ...shape];
    }
    case "roundingError": {
      const [low, high] = codeRange[random() < 0.5 ? "I8" : "U16"];
      const src = arena.region(4 * n, floats(random() < 0.3 ? nonFinite : []));
      const sums = Float64Array.from({ length: p }, () => random());
      const out = arena.region(sums.byteLength, sums);
      const scales = Float32Array.from({ length: p }, () => (random() < 0.1 ? -1 : 1) * 2 ** (8 * random() - 6));
      const mins = Float32Array.from({ length: p }, () => (random() < 0.5 ? 0 : random() - 0.5));
      const zeros = Int32Array.from({ length: p }, () => between(random, low, high));
      const regions = [scales, mins, zeros].map((values) => arena.region(4 * p, values));
      return [src, out, ...regions, low, high, ...shape];
    }
    case "quantize": {
      const [low, high] = codeRange[code as CodeName];
      const nibble = codeBytes[code!] === 1 && random() < 0.3;
      const lowest = nibble ? (low < 0 ? -8 : 0) : low;
      const highest = nibble ? (low < 0 ? 7 : 15) : high;
      const zeroPoints = Int32Array.from({ length: p }, () => between(random, lowest, highest));
      const src = arena.region(4 * n, floats(nonFinite));
      const dst = arena.region(codeBytes[code!] * n);
      return [src, dst, scales(), arena.region(4 * p, zeroPoints), lowest, highest, ...shape];
    }
    case "bias": {
      const src = arena.region(4 * n, floats(nonFinite));
      return [src, arena.region(4 * n), scales(), ...shape];
    }
    case "quantizeFloatOffset":
      return floatOffsetArguments(code as CodeName, shape, random, arena);
    case "dequantize":
    case "dequantizeFloatOffset":
      return dequantizeArguments(name, shape, random, arena, scales);
    case "error": {
      const a = arena.region(4 * n, normals(random, n));
      const b = arena.region(4 * n, normals(random, n));
      return [a, b, arena.region(5 * 8 * p, new Float64Array(5 * p)), p, ...shape];
    }
    default:
      throw new Error(`${name} does not go over groups`);
  }
}

/** Those that go over groups; kernels over matrices have tests of their own. */
const others = ["nibbles", "half", "count", "loss", "blocks", "nbits", "pack", "encode", "search", "bnb4", "transpose"];
const grouped = kernelNames.filter((name) => !others.includes(kernelList[name].family));

describe.each(grouped)("%s equals its reference", (name) => {
  const over = (columns: number): Shape =>
    kernelList[name].columns ? [1, 1, 3, 3, 0, columns] : [1, 1, columns, columns, 0];

  it("at every length from 0 to 130, misaligned", () => {
    const random = randomOf(1);
    for (let n = 0; n <= 130; n++) {
      const arena = new Arena(random);
      arena.compare(name, argumentsOf(name, over(n), random, arena), `length ${n}`);
    }
  });

  it("over outers, groups with a short last one, parameters that cycle or advance", () => {
    const random = randomOf(2);
    for (let round = 0; round < 60; round++) {
      const groups = between(random, 1, 5);
      const inner = between(random, 1, 40);
      const last = between(random, 1, inner);
      const columns = kernelList[name].columns ? between(random, 1, 40) : undefined;
      const step = random() < 0.5 ? 0 : groups * (columns ?? 1);
      const shape = [between(random, 1, 3), groups, inner, last, step, ...(columns ? [columns] : [])] as Shape;
      const arena = new Arena(random);
      arena.compare(name, argumentsOf(name, shape, random, arena), `shape ${shape}`);
    }
  });

  it("where a run is read as several streams", () => {
    const random = randomOf(3);
    for (const n of [16383, 16384, 16385, 16447, 20000]) {
      const shape: Shape = kernelList[name].columns ? [1, 1, 9, 9, 0, n >> 3] : [1, 1, n, n, 0];
      const arena = new Arena(random);
      arena.compare(name, argumentsOf(name, shape, random, arena), `length ${n}`);
    }
  });
});

describe("4-bit codes", () => {
  it.each(["packNibbles", "unpackI4", "unpackU4"] as const)(
    "%s equals its reference at every length and both phases",
    (name) => {
      const random = randomOf(4);
      for (let n = 0; n <= 130; n++) {
        for (const odd of [0, 1]) {
          const arena = new Arena(random);
          const src = arena.region(
            n + 1,
            Uint8Array.from({ length: n + 1 }, () => between(random, 0, 255)),
          );
          arena.compare(name, [src, arena.region(n + 1), n, odd], `length ${n}, odd ${odd}`);
        }
      }
    },
  );
});

describe("half precision", () => {
  it.each(["convertF16F32", "convertBF16F32"] as const)(
    "%s equals its reference for every one of the 65,536 values",
    (name) => {
      const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
      const arena = new Arena(randomOf(5));
      arena.compare(name, [arena.region(131072, all), arena.region(262144), 65536], "all values");
    },
  );

  it.each(["convertF32F16", "convertF32BF16"] as const)(
    "%s equals its reference around every rounding boundary",
    (name) => {
      const random = randomOf(6);
      for (let n = 0; n <= 130; n++) {
        const bits = Uint32Array.from({ length: n }, () => between(random, 0, 0xffffffff));
        const arena = new Arena(random);
        arena.compare(name, [arena.region(4 * n, bits), arena.region(2 * n), n], `length ${n}`);
      }
      // The float32 values halfway between two halves, and their neighbours, for every exponent.
      const bits: number[] = [];
      for (let exponent = 0; exponent < 256; exponent++) {
        for (const mantissa of [
          0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x18000, 0x7fffff,
        ]) {
          bits.push((exponent << 23) | mantissa, ((exponent << 23) | mantissa) + 0x80000000);
        }
      }
      const arena = new Arena(random);
      arena.compare(
        name,
        [arena.region(4 * bits.length, Uint32Array.from(bits)), arena.region(2 * bits.length), bits.length],
        "boundaries",
      );
    },
  );

  it.each([0x7c00, 0x7f80])(
    "countF32Halves equals its reference on every pair of a value and a half (exponent %i)",
    (exponent) => {
      const random = randomOf(7);
      const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
      for (const n of [65536, ...Array.from({ length: 40 }, (_, i) => i)]) {
        const values = Float32Array.from({ length: n }, () =>
          random() < 0.3 ? (random() < 0.5 ? 0 : -0) : random() - 0.5,
        );
        const restored = values.map((value) => (random() < 0.5 ? value : random() < 0.1 ? Number.NaN : 0));
        const arena = new Arena(random);
        const first = between(random, 0, 65536 - n);
        const regions = [
          arena.region(4 * n, values),
          arena.region(2 * n, halves.slice(first, first + n)),
          arena.region(4 * n, restored),
          arena.region(12),
        ];
        arena.compare("countF32Halves", [...regions, n, exponent], `length ${n}`);
      }
    },
  );

  it.each([0, 1, 3, 4, 5, 130, 65535, 65536, 65537, 100_000])("lossF32 equals its reference, %i values", (n) => {
    const random = randomOf(8);
    const arena = new Arena(random);
    const values = () => Float32Array.from({ length: n }, () => (random() < 0.001 ? Number.NaN : random() - 0.5));
    const sums = Float64Array.of(0.25, 3, 0.5);
    const regions = [arena.region(4 * n, values()), arena.region(4 * n, values()), arena.region(24, sums)];
    arena.compare("lossF32", [...regions, n], `length ${n}`);
  });

  it("narrowing undoes widening", () => {
    const { memory, kernels } = reference;
    const finite = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00);
    const { raw, values, codes } = memory.tiles;
    memory.view(Uint16Array, raw, finite.length).set(finite);
    kernels.convertF16F32(raw, values, finite.length);
    kernels.convertF32F16(values, codes, finite.length);
    expect(memory.view(Uint16Array, codes, finite.length)).toEqual(finite);
  });
});

describe("the list", () => {
  it("names every kernel of the module and of the reference, and no other", () => {
    const ofModule = Object.keys(simd.kernels).filter((name) => name !== "memory");
    expect(ofModule.sort()).toEqual([...kernelNames].sort());
    expect(Object.keys(reference.kernels).sort()).toEqual([...kernelNames].sort());
  });
});

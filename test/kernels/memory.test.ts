import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryError } from "../../src/index.ts";
import { LinearMemory, TILE } from "../../src/kernels/memory.ts";

describe("linear memory", () => {
  it("gives blocks that are aligned and apart, and takes them back in any order", () => {
    const steps = fc.array(fc.record({ size: fc.integer({ min: 0, max: 300_000 }), freeing: fc.nat() }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (script) => {
        const memory = new LinearMemory();
        const heap = memory.tiles.sums + (TILE / 8) * 40;
        const held: { at: number; size: number }[] = [];
        for (const { size, freeing } of script) {
          if (freeing % 3 === 0 && held.length > 0) {
            memory.free(held.splice(freeing % held.length, 1)[0]!.at);
            continue;
          }
          const at = memory.allocate(size);
          expect(at % 64).toBe(0);
          expect(at).toBeGreaterThanOrEqual(heap);
          expect(at + size).toBeLessThanOrEqual(memory.memory.buffer.byteLength);
          for (const other of held) expect(at >= other.at + other.size || at + size <= other.at).toBe(true);
          held.push({ at, size });
        }
        for (const { at } of held) memory.free(at);
        expect(memory.allocate(64)).toBe(Math.ceil(heap / 64) * 64);
      }),
      { numRuns: 60, seed: 3 },
    );
  });

  it("joins blocks that are given back next to each other", () => {
    const memory = new LinearMemory();
    const [a, b, c, d] = [0, 1, 2, 3].map(() => memory.allocate(1024)) as [number, number, number, number];
    for (const order of [
      [a, b, c],
      [c, b, a],
      [a, c, b],
      [b, a, c],
    ]) {
      for (const block of order) memory.free(block);
      expect(memory.allocate(3072)).toBe(a);
      memory.free(a);
      expect([memory.allocate(1024), memory.allocate(1024), memory.allocate(1024)]).toEqual([a, b, c]);
    }
    memory.free(d);
  });

  it("says so when there is no more", () => {
    const memory = new LinearMemory();
    expect(() => memory.allocate(2 ** 32)).toThrow(MemoryError);
    expect(() => memory.allocate(2 ** 32)).toThrow(/4294967296 bytes asked for, .* of at most 4294967296 in use/);
    expect(memory.allocate(64)).toBeGreaterThan(0);
  });

  it("refuses sizes that are not finite or below 0, and stays as it was", () => {
    const memory = new LinearMemory();
    const a = memory.allocate(1000);
    const next = memory.allocate(64);
    memory.free(next);
    const size = memory.memory.buffer.byteLength;
    for (const strange of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, -0.5, undefined]) {
      const refused = expect.objectContaining({ tag: "memory", message: expect.stringContaining(`got ${strange}`) });
      expect(() => memory.allocate(strange as number)).toThrow(refused);
      expect(() => memory.ensure(strange as number)).toThrow(refused);
    }
    expect(memory.memory.buffer.byteLength).toBe(size);
    expect(memory.allocate(64)).toBe(next);
    expect(memory.allocate(1000)).toBeGreaterThan(a);
  });

  it("has tiles that do not touch", () => {
    const { tiles } = new LinearMemory();
    const starts = Object.values(tiles).sort((a, b) => a - b);
    expect(new Set(starts).size).toBe(Object.keys(tiles).length);
    expect(starts.every((at) => at % 64 === 0)).toBe(true);
  });
});

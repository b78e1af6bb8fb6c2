import { describe, expect, it } from "vitest";
import { createEngine } from "../../src/index.ts";
import { type Work, workersOn } from "../../src/pipeline/work.ts";

const files = { sources: [], sinks: [] };

/** Work that takes so much room, and tells whether linear memory was the same throughout. */
const waiting: Work<{ readonly room: number; readonly turns: number }, boolean> = {
  name: "waiting",
  reads: () => [],
  room: ({ room }) => room,
  async run(engine, _, { room, turns }) {
    const tensor = engine.reserve("float32", [Math.floor(room / 4)]);
    const { buffer } = tensor.data;
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
    const isSame = tensor.data.buffer === buffer;
    tensor.dispose();
    return isSame;
  },
};

describe("workers on this thread", () => {
  it("let memory grow while nothing is read to it, whatever residents come meanwhile", async () => {
    const engine = await createEngine();
    const workers = workersOn(engine);
    for (const room of [1 << 16, 1 << 20, 1 << 18, 1 << 23, 1 << 22]) {
      const units = Array.from({ length: 6 }, (_, i) => ({ room: room >> (i % 3), turns: i }));
      expect(await Promise.all(units.map((unit) => workers.run(waiting, files, unit)))).not.toContain(false);
      engine.allocate("float32", [300_000]);
    }
  });

  it("go on after memory has not sufficed", async () => {
    const workers = workersOn(await createEngine());
    const [large, small] = await Promise.allSettled([
      workers.run(waiting, files, { room: 2 ** 32, turns: 1 }),
      workers.run(waiting, files, { room: 1 << 16, turns: 1 }),
    ]);
    expect(large).toMatchObject({ status: "rejected", reason: { tag: "memory" } });
    expect(small).toEqual({ status: "fulfilled", value: true });
    expect(await workers.run(waiting, files, { room: 1 << 16, turns: 1 })).toBe(true);
  });
});

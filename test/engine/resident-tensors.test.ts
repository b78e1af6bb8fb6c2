import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine, MemoryError, quantizeLinear } from "../../src/index.ts";
import { normals, randomOf } from "../helpers/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const data = normals(randomOf(31), 5000);

function resident(shape: number[] = [50, 100]) {
  const tensor = engine.allocate("float32", shape);
  tensor.data.set(data);
  return tensor;
}

describe("tensors in linear memory", () => {
  it("start as zeros, also where others lay before", () => {
    const first = resident();
    first.dispose();
    const second = engine.allocate("float32", [50, 100]);
    expect(second.data.every((v) => v === 0)).toBe(true);
    second.dispose();
  });

  it("give what arrays give, and stay in linear memory", () => {
    const x = resident();
    for (const options of [
      { axis: 0 },
      { axis: 1, dtype: "uint4" },
      { axis: 1, blockSize: 7, dtype: "int4" },
      { dtype: "uint16", scheme: "float-offset" },
    ] as const) {
      const q = engine.quantize(x, options);
      const plain = engine.quantize({ data, shape: [50, 100] }, options);
      expect({ ...plain, data: [...q.data] }).toEqual({ ...plain, data: [...plain.data] });
      expect(q.scale).toEqual(plain.scale);
      const back = engine.dequantize(q);
      expect(back.data.buffer).toBe(x.data.buffer);
      expect([...back.data]).toEqual([...engine.dequantize(plain).data]);
      const half = engine.dequantize(q, { dtype: "bfloat16" });
      expect([...half.data]).toEqual([...engine.dequantize(plain, { dtype: "bfloat16" }).data]);
      for (const t of [q, back, half]) t.dispose();
    }
    x.dispose();
  });

  it("write into a given array all the same", () => {
    const x = resident();
    const out = new Int8Array(5000);
    expect(engine.quantize(x, { out }).data).toBe(out);
    x.dispose();
  });

  it("survive growth: data is asked for anew", () => {
    const x = resident();
    const before = x.data;
    const large = engine.allocate("float32", [8_000_000]);
    expect(before.length).toBe(0);
    expect([...x.data]).toEqual([...data]);
    large.dispose();
    x.dispose();
  });

  it("are gone after dispose(), and say so", () => {
    const x = resident();
    const q = engine.quantize(x);
    x.dispose();
    x.dispose();
    expect(() => x.data).toThrow(MemoryError);
    expect(() => engine.quantize(x)).toThrow("resident tensor: used after dispose()");
    q[Symbol.dispose]();
    expect(() => engine.dequantize(q)).toThrow("used after dispose()");
    expect(() => engine.error({ data, shape: [50, 100] }, q)).toThrow("used after dispose()");
  });

  it("do not leak where a call fails", async () => {
    const fresh = await createEngine();
    const gone = fresh.allocate("float32", [1000]);
    const goneQ = fresh.quantize(gone);
    gone.dispose();
    goneQ.dispose();
    const weight = fresh.allocate("float32", [8, 100]);
    weight.data.set(data.subarray(0, 800));
    const bias = { data: new Float32Array(8).fill(Number.NaN), shape: [8] };
    const { byteLength } = weight.data.buffer;
    for (let i = 0; i < 3000; i++) {
      expect(() => fresh.quantize(gone, { scale: 1 })).toThrow(MemoryError);
      expect(() => fresh.dequantize(goneQ)).toThrow(MemoryError);
      expect(() => quantizeLinear(fresh, { weight, bias }, { inputScale: 1 })).toThrow("holds NaN at flat index 0");
    }
    expect(weight.data.buffer.byteLength).toBe(byteLength);
  });

  it("keep their shape, whatever becomes of the caller's", () => {
    const shape = [4];
    const x = engine.allocate("float32", shape);
    shape[0] = 100;
    expect(x.data.length).toBe(4);
    x.dispose();
  });

  it("of another engine are taken like arrays", async () => {
    const other = await createEngine();
    const x = resident();
    const q = other.quantize(x);
    expect([...q.data]).toEqual([...engine.quantize({ data, shape: [50, 100] }).data]);
    q.dispose();
    x.dispose();
  });

  it("give their room back for the next, so that a loop does not grow memory", () => {
    const x = resident();
    engine.quantize(x).dispose();
    const { byteLength } = x.data.buffer;
    for (let i = 0; i < 2000; i++) {
      const q = engine.quantize(x, { axis: i % 2 });
      const back = engine.dequantize(q);
      q.dispose();
      back.dispose();
    }
    expect(x.data.buffer.byteLength).toBe(byteLength);
    x.dispose();
  });

  it("are turned where that makes memory grow", async () => {
    const fresh = await createEngine();
    const q = fresh.quantize(fresh.allocate("float32", [700, 300]), { range: { min: -1, max: 1 } });
    q.data.forEach((_, i, codes) => {
      codes[i] = i % 251;
    });
    const codes = new Uint8Array(q.data.buffer, q.data.byteOffset, q.data.length);
    const wanted = Uint8Array.from(codes, (_, i) => ((i % 700) * 300 + Math.floor(i / 700)) % 251);
    expect(Buffer.compare(fresh.transposeLast(codes, [700, 300]), wanted)).toBe(0);
    expect(codes).toHaveLength(0); // it did
  });
});

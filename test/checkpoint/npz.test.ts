import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type ByteSource,
  bytesSink,
  bytesSource,
  createEngine,
  inspectModel,
  type QuantizeModelOptions,
  quantizeModel,
  type SafetensorsDType,
} from "../../src/index.ts";
import { fileSink, fileSource } from "../../src/node.ts";
import { safetensorsFile } from "../helpers/checkpoints.ts";
import { CRC32, DEFLATED, npy, patched, STORED, zip } from "../helpers/npz.ts";
import { builtPool } from "../helpers/pools.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { bytesOf } from "../helpers/sources.ts";

const engine = await createEngine();

const large = normals(randomOf(1), 1030 * 1021); // two windows
const flat = normals(randomOf(2), 4096);
const doubles = Float64Array.from(normals(randomOf(3), 8 * 64));
const counts = Int32Array.from({ length: 100 }, (_, i) => i);
const arrays = [
  ["large", "<f4", [1030, 1021], large, "F32"],
  ["flat", "<f4", [4096], flat, "F32"],
  ["doubles", "<f8", [8, 64], doubles, "F64"],
  ["counts", "<i4", [10, 10], counts, "I32"],
  ["empty", "<f4", [0, 3], new Float32Array(0), "F32"],
] as const;

const zips = new Map(
  await Promise.all(
    [DEFLATED, STORED].map(async (how) => {
      const members = arrays.map(
        ([name, descr, shape, data]) => [`${name}.npy`, npy(descr, shape, data), how] as const,
      );
      return [how, await zip(...members)] as const;
    }),
  ),
);
const npz = (how: typeof DEFLATED | typeof STORED) => zips.get(how)!;

/** The same tensors in a safetensors file; a .npz file's of one dimension are quantized as well, which is left out here. */
const same = await safetensorsFile(
  arrays.map(([name, , shape, data, dtype]) => ({
    name,
    dtype: dtype as SafetensorsDType,
    shape,
    data: new Uint8Array(data.buffer),
  })),
);

async function quantize(source: ByteSource, options: QuantizeModelOptions = {}) {
  const sink = bytesSink();
  const report = await quantizeModel(engine, source, sink, { exclude: ["flat"], ...options });
  return { report, file: sink.result() };
}

describe.each([
  ["stored", STORED],
  ["deflated", DEFLATED],
])("a .npz file, %s", (_, how) => {
  it.each([{}, { axis: 1 }, { perChannel: false }, { dtype: "int4", blockSize: 32 }] as QuantizeModelOptions[])(
    "becomes what the same tensors in a safetensors file do, within any memory: %j",
    async (options) => {
      const wanted = await quantize(bytesSource(same, "x.safetensors"), options);
      const bytes = npz(how);
      for (const memory of [undefined, 1]) {
        const { file, report } = await quantize(bytesSource(bytes, "x.npz"), { ...options, ...(memory && { memory }) });
        expect(Buffer.compare(file, wanted.file)).toBe(0);
        const reasons = (tensors: typeof report.tensors) => tensors.filter(({ name }) => name !== "flat");
        expect(reasons(report.tensors)).toEqual(reasons(wanted.report.tensors));
        expect(report.bytesBefore).toBe(bytes.length);
      }
    },
  );

  it("is the same for any number of threads, and inspected by them", async () => {
    const folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
    try {
      await writeFile(join(folder, "x.npz"), npz(how));
      const inspected = await inspectModel(engine, bytesSource(npz(how), "x.npz"));
      const wanted = await quantize(bytesSource(same, "x.safetensors"), { axis: 1 });
      for (const threads of [1, 2, 7]) {
        await using workers = builtPool(threads);
        const source = await fileSource(join(folder, "x.npz"));
        const path = join(folder, `${threads}.safetensors`);
        const options = { axis: 1, exclude: ["flat"], workers, memory: 1e6 };
        await quantizeModel(engine, source, await fileSink(path), options);
        expect(Buffer.compare(await readFile(path), wanted.file)).toBe(0);
        expect(await inspectModel(engine, source, { workers })).toEqual(inspected);
        await source.close();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("a .npz file", () => {
  it("has arrays of one dimension quantized, as a .npy file has", async () => {
    const { report } = await quantize(bytesSource(npz(DEFLATED), "x.npz"), { exclude: [] });
    expect(report.tensors).toMatchObject([
      { name: "large", to: "int8" },
      { name: "flat", to: "int8" },
      { name: "doubles", from: "F64", to: "int8" },
      { name: "counts", from: "I32", to: "I32", reason: "not float" },
      { name: "empty", reason: "empty" },
    ]);
  });

  it("is read front to back where it is deflated: once for scales within windows, twice for those across", async () => {
    const bytes = npz(DEFLATED);
    const passesOf = async (options: QuantizeModelOptions) => {
      const starts: number[] = [];
      const source = bytesSource(bytes, "x.npz");
      const slice = (start: number, end: number) => {
        starts.push(start);
        return source.slice(start, end);
      };
      await quantize({ ...source, slice }, { ...options, include: ["large"] });
      // Where the deflated bytes of the first member begin.
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const first = 30 + view.getUint16(26, true) + view.getUint16(28, true);
      return starts.filter((start) => start === first).length - 1; // one was for the header
    };
    expect(await passesOf({})).toBe(1);
    expect(await passesOf({ axis: 1 })).toBe(1); // held whole
    expect(await passesOf({ axis: 1, memory: 1 })).toBe(2);
  });

  it("is told by its content where its name says nothing", async () => {
    const { report } = await quantize(bytesSource(npz(STORED), "download"));
    expect(report.tensors).toHaveLength(5);
    await expect(quantize(bytesSource(npz(STORED), "x.npy"))).rejects.toThrow(
      "x.npy: is a NumPy .npz file, not what its name says",
    );
  });

  it.each([
    [
      "a NaN",
      async () => zip(["w.npy", npy("<f4", [1, 64], new Float32Array(64).fill(Number.NaN)), DEFLATED]),
      /"w": holds NaN/,
    ],
    [
      "a wrong checksum",
      async () => patched(await zip(["w.npy", npy("<f4", [8, 64], flat.slice(0, 512)), DEFLATED]), CRC32, 4, 1),
      /"w": damaged/,
    ],
    [
      "Python objects",
      async () => {
        const file = npy("<f4", [8, 64], flat.slice(0, 512));
        const text = Buffer.from(file).toString("latin1").replace("'<f4'", "'|O' ");
        return zip(["w.npy", Uint8Array.from(text, (c) => c.charCodeAt(0)), STORED]);
      },
      /"w": data type "\|O" is Python objects/,
    ],
    ["something else", async () => zip(["w.txt", bytesOf("hello"), STORED]), /member "w.txt" is not a .npy file/],
    [
      "integers alone",
      async () => zip(["n.npy", npy("<i4", [100], counts), STORED]),
      /^x\.npz: 0 of 1 tensors quantized: not float$/,
    ],
    ["nothing", async () => zip(), /^x\.npz: nothing quantized: the file holds no tensors$/],
  ])("with %s is refused, with nothing written", async (_, file, message) => {
    const sink = bytesSink();
    const refused = quantizeModel(engine, bytesSource(await file(), "x.npz"), sink);
    await expect(refused).rejects.toThrow(message);
    expect(sink.result()).toHaveLength(0);
  });
});

import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesSink } from "../../src/formats/byte-source.ts";
import {
  planSafetensors,
  readSafetensorsHeader,
  type SafetensorsDType,
  safetensorsTypes,
  writeSafetensors,
} from "../../src/formats/safetensors.ts";
import { sharedData, skipWithout } from "../helpers/needs.ts";
import { fileOf, official, read } from "../helpers/safetensors-bytes.ts";
import { bytesOf, recordingSource } from "../helpers/sources.ts";

describe("readSafetensorsHeader", () => {
  it("reads the length and the header, and nothing of the data", async () => {
    const source = recordingSource(official);
    expect(await readSafetensorsHeader(source)).toEqual({
      metadata: {},
      tensors: [{ name: "attn.0", dtype: "F32", shape: [1, 2, 3], start: 72, end: 96 }],
    });
    expect(source.reads).toEqual([
      [0, 8],
      [8, 72],
    ]);
  });

  it("keeps the order of the keys, whatever the order of the data", async () => {
    const entry = (begin: number) => `{"dtype":"U8","shape":[1],"data_offsets":[${begin},${begin + 1}]}`;
    const { tensors } = await read(fileOf(`{"b":${entry(1)},"10":${entry(2)},"9":${entry(0)}}`, 3));
    const start = tensors[2]!.start;
    expect(tensors.map(({ name, start: at }) => [name, at - start])).toEqual([
      ["b", 1],
      ["10", 2],
      ["9", 0],
    ]);
  });

  it("takes __proto__ for a name like any other, of a tensor and in the metadata", async () => {
    const { metadata, tensors } = await read(
      fileOf('{"__metadata__":{"__proto__":"x"},"__proto__":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', 1),
    );
    expect(tensors.map(({ name }) => name)).toEqual(["__proto__"]);
    expect(Object.entries(metadata)).toEqual([["__proto__", "x"]]);
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype);
  });

  it("reads scalars, empty tensors, no tensors, unknown fields and padding", async () => {
    expect((await read(fileOf('{"w":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}', 4))).tensors[0]!.shape).toEqual(
      [],
    );
    const empty = (at: number) => `{"dtype":"I32","shape":[2,0],"data_offsets":[${at},${at}]}`;
    const full = '{"dtype":"I32","shape":[1],"data_offsets":[0,4],"extra":[1.5,null]}';
    const { tensors } = await read(fileOf(`{"y":${empty(4)},"w":${full},"x":${empty(0)},"z":${empty(4)}}`, 4));
    expect(tensors.map(({ name }) => name)).toEqual(["y", "w", "x", "z"]);
    expect(await read(fileOf("{}\r \t\n"))).toEqual({ metadata: {}, tensors: [] });
  });
});

describe("planSafetensors", () => {
  const text = (header: Uint8Array) => new TextDecoder().decode(header.subarray(8));

  it("gives the bytes of the official writer", async () => {
    const plan = planSafetensors([{ name: "attn.0", dtype: "F32", shape: [1, 2, 3] }]);
    expect(plan.header).toEqual(official.subarray(0, 72));
    expect(plan.byteLength).toBe(96);
    expect(planSafetensors([]).header).toEqual(bytesOf([8, 0, 0, 0, 0, 0, 0, 0], "{}      "));
    expect(planSafetensors([], { framework: "pt" }).header).toEqual(
      bytesOf([40, 0, 0, 0, 0, 0, 0, 0], '{"__metadata__":{"framework":"pt"}}     '),
    );
  });

  it("lays the widest types first, and names the tensors in the order given", () => {
    const plan = planSafetensors([
      { name: "2", dtype: "U8", shape: [3] },
      { name: "1", dtype: "F32", shape: [2] },
      { name: "__proto__", dtype: "I64", shape: [] },
      { name: "0", dtype: "F32", shape: [] },
      { name: "f", dtype: "F4", shape: [2] },
    ]);
    expect(text(plan.header).trimEnd()).toBe(
      '{"2":{"dtype":"U8","shape":[3],"data_offsets":[20,23]},' +
        '"1":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},' +
        '"__proto__":{"dtype":"I64","shape":[],"data_offsets":[0,8]},' +
        '"0":{"dtype":"F32","shape":[],"data_offsets":[16,20]},' +
        '"f":{"dtype":"F4","shape":[2],"data_offsets":[23,24]}}',
    );
    expect(plan.header.byteLength % 8).toBe(0);
    expect(plan.tensors.map(({ start }) => start - plan.header.byteLength)).toEqual([20, 8, 0, 16, 23]);
    expect(plan.byteLength).toBe(plan.header.byteLength + 24);
  });

  it.each<[what: string, plan: () => unknown, message: string]>([
    ["a name given twice", () => planSafetensors([item("a"), item("a")]), 'tensors: name "a" is given twice'],
    [
      "the metadata's name",
      () => planSafetensors([item("__metadata__")]),
      "tensors: __metadata__ is the format's own key, not a name",
    ],
    [
      "half a surrogate pair in a name",
      () => planSafetensors([item("\ud800")]),
      'tensors: "\\ud800" holds half a surrogate pair, which UTF-8 cannot',
    ],
    [
      "half a surrogate pair in the metadata",
      () => planSafetensors([], { a: "\udc00" }),
      'metadata: "\\udc00" holds half a surrogate pair, which UTF-8 cannot',
    ],
    [
      "metadata that is not a string",
      () => planSafetensors([], { a: 1 as never }),
      'metadata: "a" must be a string, got 1',
    ],
    [
      "an unknown dtype",
      () => planSafetensors([{ ...item("a"), dtype: "int8" as never }]),
      `tensors: "a": dtype "int8" is not one of ${Object.keys(safetensorsTypes).join(", ")}`,
    ],
    [
      "a negative size",
      () => planSafetensors([{ ...item("a"), shape: [-1] }]),
      'tensors: "a": shape must be an array of integers from 0 to 2^53 - 1, got [-1]',
    ],
    [
      "half a byte",
      () => planSafetensors([{ name: "a", dtype: "F6_E2M3", shape: [3] }]),
      'tensors: "a": F6_E2M3 [3] takes 18 bits, which is not a whole number of bytes',
    ],
    [
      "a tensor over 2^53 bits",
      () => planSafetensors([{ ...item("a"), shape: [2 ** 50] }]),
      'tensors: "a": U8 [1125899906842624] takes more than 2^53 - 1 bits',
    ],
    [
      "a file over 2^53 bytes",
      () => planSafetensors(Array.from({ length: 9 }, (_, i) => ({ ...item(`${i}`), shape: [2 ** 50 - 1] }))),
      "tensors: take more than 2^53 - 1 bytes together",
    ],
    [
      "a header over 100 MB",
      () => planSafetensors([item("a".repeat(100_000_000))]),
      "tensors: header takes 100000056 bytes; the format's limit is 100000000",
    ],
  ])("refuses %s", (_, plan, message) => {
    expect(plan).toThrow(expect.objectContaining({ name: "ArgumentError", message }));
  });
});

function item(name: string): { name: string; dtype: SafetensorsDType; shape: readonly number[] } {
  return { name, dtype: "U8", shape: [1] };
}

describe("writeSafetensors", () => {
  it("gives the bytes of the official writer, and leaves the sink open", async () => {
    const sink = bytesSink();
    let closed = false;
    const close = async () => {
      closed = true;
    };
    await writeSafetensors({ ...sink, close }, [
      { name: "attn.0", dtype: "F32", shape: [1, 2, 3], data: official.subarray(72) },
    ]);
    expect(sink.result()).toEqual(official);
    expect(closed).toBe(false);
  });

  it("writes front to back", async () => {
    const positions: number[] = [];
    const write = async (position: number) => {
      positions.push(position);
    };
    const tensors = [item("a"), { name: "b", dtype: "F64", shape: [] } as const];
    const { header } = planSafetensors(tensors);
    const data = [new Uint8Array(1), new Uint8Array(8)];
    await writeSafetensors(
      { ...bytesSink(), write },
      tensors.map((tensor, i) => ({ ...tensor, data: data[i]! })),
    );
    expect(positions).toEqual([0, header.byteLength, header.byteLength + 8]);
  });

  it("writes nothing where a tensor's data has the wrong length", async () => {
    const sink = bytesSink();
    await expect(writeSafetensors(sink, [{ ...item("a"), data: new Uint8Array(2) }])).rejects.toMatchObject({
      name: "ArgumentError",
      message: 'tensors: "a" has 2 bytes of data, not 1',
    });
    expect(sink.result().byteLength).toBe(0);
  });

  const names = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.nat(20).map(String),
    fc.constantFrom("__proto__", "constructor", "toString", "", 'a"b\\c\n', "层.重み"),
  );
  const dtypes = fc.constantFrom(...(Object.keys(safetensorsTypes) as SafetensorsDType[]));
  const tensors = fc
    .record({ name: names, dtype: dtypes, shape: fc.array(fc.nat(4), { maxLength: 4 }), seed: fc.nat(255) })
    .map(({ name, dtype, shape, seed }) => {
      // four elements of any type make whole bytes
      const whole = safetensorsTypes[dtype] < 8 ? [...shape, 4] : shape;
      const bytes = (whole.reduce((product, size) => product * size, 1) * safetensorsTypes[dtype]) / 8;
      return { name, dtype, shape: whole, data: Uint8Array.from({ length: bytes }, (_, i) => seed + i) };
    });

  it("writes what the reader reads back: names, order, types, shapes, data, metadata", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(tensors, { selector: ({ name }) => name, maxLength: 8 }),
        fc.dictionary(names, fc.string({ unit: "binary" })),
        async (items, metadata) => {
          const sink = bytesSink();
          await writeSafetensors(sink, items, metadata);
          const file = sink.result();
          const header = await read(file);
          expect(header.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(
            items.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
          );
          expect(header.tensors.map(({ start, end }) => file.slice(start, end))).toEqual(items.map(({ data }) => data));
          expect(
            header.tensors.filter(({ dtype, start }) => start % Math.ceil(safetensorsTypes[dtype] / 8) !== 0),
          ).toEqual([]);
          expect(Object.entries(header.metadata)).toEqual(Object.entries(metadata));
          expect(planSafetensors(items, metadata)).toMatchObject({
            byteLength: file.byteLength,
            tensors: header.tensors,
          });
        },
      ),
    );
  });
});

describe("a file of PyTorch's", () => {
  it("is read and written back", async (context) => {
    skipWithout(context, sharedData.tensors);
    const file = new Uint8Array(readFileSync(join(sharedData.tensors.path, "mnist_cnn.safetensors")));
    const { tensors, metadata } = await read(file);
    expect(tensors.find(({ name }) => name === "conv1.weight")).toMatchObject({ dtype: "F32", shape: [8, 1, 3, 3] });
    const sink = bytesSink();
    const items = tensors.map((tensor) => ({ ...tensor, data: file.subarray(tensor.start, tensor.end) }));
    await writeSafetensors(sink, items, metadata);
    expect(Buffer.from(sink.result()).equals(file)).toBe(true);
  });
});

import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import {
  planSafetensors,
  readSafetensorsHeader,
  type SafetensorsDType,
  safetensorsTypes,
  writeSafetensors,
} from "../../src/formats/safetensors.ts";
import { sharedData, skipWithout } from "../helpers/needs.ts";
import { bytesOf, recordingSource, truncatedSource } from "../helpers/sources.ts";

/** A file of `header` as given, and `dataBytes` zeros. */
function fileOf(header: string | readonly number[], dataBytes = 0): Uint8Array {
  const text = bytesOf(header);
  return bytesOf(lengthOf(BigInt(text.byteLength)), text, new Uint8Array(dataBytes));
}

function lengthOf(length: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  return bytes;
}

const read = (bytes: Uint8Array) => readSafetensorsHeader(bytesSource(bytes, "m.safetensors"));

const one = (entry: string) => `{"w":${entry}}`;

// what the Rust crate's own test_serialization expects, byte for byte
const official = bytesOf(
  [64, 0, 0, 0, 0, 0, 0, 0],
  '{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}',
  [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 64, 0, 0, 160, 64],
);

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

describe("a malformed safetensors file", () => {
  const entry = '{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}';
  const at = (begin: number | string, end: number | string) =>
    `{"dtype":"U8","shape":[4],"data_offsets":[${begin},${end}]}`;
  const types = Object.keys(safetensorsTypes).join(", ");

  it.each<[what: string, file: Uint8Array, message: string, tensor?: string]>([
    ["of no bytes", bytesOf(), "0 bytes are too few for a safetensors file: its header length alone takes 8"],
    ["of 7 bytes", new Uint8Array(7), "7 bytes are too few for a safetensors file: its header length alone takes 8"],
    ["with no header", lengthOf(0n), "header length is 0; the shortest header, {}, takes 2 bytes"],
    [
      "with a header over 100 MB",
      lengthOf(100_000_001n),
      "header length 100000001 is over the format's limit of 100000000 bytes",
    ],
    [
      "with a header over 2^53",
      lengthOf(2n ** 64n - 1n),
      "header length 18446744073709551615 is over the format's limit of 100000000 bytes",
    ],
    ["shorter than its header", bytesOf(lengthOf(9n), "{}"), "header length 9 is over the 2 bytes that follow it"],
    ["that is not UTF-8", fileOf([0x7b, 0xff, 0x7d]), "header is not UTF-8"],
    ["that starts with white space", fileOf(" {}"), 'header must start with "{", got " "'],
    ["that starts with a byte order mark", fileOf("\ufeff{}"), 'header must start with "{", got "\ufeff"'],
    ["that holds an array", fileOf("[]"), 'header must start with "{", got "["'],
    ["of one bracket", fileOf("{"), "bad header: expected a string at character 1, found the end"],
    ["with two objects", fileOf("{}{}"), 'bad header: expected nothing more at character 2, found "{"'],
    ["with NaN", fileOf('{"w":NaN}'), 'bad header: expected a value at character 5, found "N"', "w"],
    ["with half a surrogate pair", fileOf('{"\\udc00":1}'), "bad header: bad escape in the string at character 1"],
    ["with brackets only", fileOf(`{"w":${"[".repeat(100_000)}`), "bad header: nested more than 128 deep", "w"],
    [
      "with a shape of a million numbers",
      fileOf(one(`{"dtype":"U8","shape":[${"1,".repeat(1e6)}1],"data_offsets":[0,1]}`), 1),
      "bad header: holds too many values",
      "w",
    ],
    [
      "with a name of a book's length",
      fileOf(`{"${"x".repeat(4097)}":${entry}}`, 16),
      `bad header: "${"x".repeat(79)}… is a name of 4097 characters, over 4096`,
    ],
    [
      "with such a name and no value",
      fileOf(`{"${"x".repeat(4097)}":}`),
      'bad header: expected a value at character 4101, found "}"',
    ],
    ["with a name twice", fileOf(`{"w":${entry},"\\u0077":${entry}}`, 16), 'bad header: key "w" is given twice', "w"],
    [
      "with __proto__ twice",
      fileOf(`{"__proto__":${entry},"__proto__":${entry}}`, 16),
      'bad header: key "__proto__" is given twice',
      "__proto__",
    ],
    ["with a field twice", fileOf(one('{"dtype":"U8","dtype":"I8"}')), 'bad header: key "dtype" is given twice', "w"],
    ["with a deep key twice", fileOf(one('{"x":[{"a":1,"a":1}]}')), 'bad header: key "a" is given twice', "w"],
    [
      "with metadata twice",
      fileOf('{"__metadata__":{},"__metadata__":{}}'),
      'bad header: key "__metadata__" is given twice',
    ],
    ["with a metadata key twice", fileOf('{"__metadata__":{"a":"","a":""}}'), 'bad header: key "a" is given twice'],
    ["with metadata null", fileOf('{"__metadata__":null}'), "__metadata__ must be a map of strings, got null"],
    ["with an array of metadata", fileOf('{"__metadata__":["a"]}'), '__metadata__ must be a map of strings, got ["a"]'],
    [
      "with a number in its metadata",
      fileOf('{"__metadata__":{"n":3}}'),
      '__metadata__ must be a map of strings, but "n" is 3',
    ],
    [
      "with a tensor that is no object",
      fileOf(one("[1]")),
      "must be an object of dtype, shape and data_offsets, got [1]",
      "w",
    ],
    [
      "with a name and a value that is none, and what else follows",
      fileOf('{"w":1,"v":[}'),
      "must be an object of dtype, shape and data_offsets, got 1",
      "w",
    ],
    ["with no dtype", fileOf(one('{"shape":[],"data_offsets":[0,0]}')), `dtype nothing is not one of ${types}`, "w"],
    ["with an unknown dtype", fileOf(one('{"dtype":"F128"}')), `dtype "F128" is not one of ${types}`, "w"],
    [
      "with an inherited dtype",
      fileOf(one('{"dtype":"constructor"}')),
      `dtype "constructor" is not one of ${types}`,
      "w",
    ],
    [
      "with a number for a shape",
      fileOf(one('{"dtype":"U8","shape":4}')),
      "shape must be an array of integers from 0 to 2^53 - 1, got 4",
      "w",
    ],
    [
      "with a negative size",
      fileOf(one('{"dtype":"U8","shape":[2,-1]}')),
      "shape must be an array of integers from 0 to 2^53 - 1, got [2,-1]",
      "w",
    ],
    [
      "with half a size",
      fileOf(one('{"dtype":"U8","shape":[0.5]}')),
      "shape must be an array of integers from 0 to 2^53 - 1, got [0.5]",
      "w",
    ],
    [
      "with a size over 2^53",
      fileOf(one('{"dtype":"U8","shape":[9007199254740993]}')),
      "shape must be an array of integers from 0 to 2^53 - 1, got [9007199254740992]",
      "w",
    ],
    [
      "with no offsets",
      fileOf(one('{"dtype":"U8","shape":[]}')),
      "data_offsets must be two integers from 0 to 2^53 - 1, got nothing",
      "w",
    ],
    [
      "with three offsets",
      fileOf(one('{"dtype":"U8","shape":[],"data_offsets":[0,0,1]}')),
      "data_offsets must be two integers from 0 to 2^53 - 1, got [0,0,1]",
      "w",
    ],
    [
      "with an offset in quotes",
      fileOf(one(at(0, '"4"')), 4),
      'data_offsets must be two integers from 0 to 2^53 - 1, got [0,"4"]',
      "w",
    ],
    [
      "with a negative offset",
      fileOf(one(at(-4, 0)), 4),
      "data_offsets must be two integers from 0 to 2^53 - 1, got [-4,0]",
      "w",
    ],
    ["with offsets the wrong way round", fileOf(one(at(4, 0)), 4), "data_offsets [4,0] end before they begin", "w"],
    [
      "with data past its end",
      fileOf(one(at(0, 4)), 3),
      "data_offsets [0,4] reach past the file's 3 bytes of data",
      "w",
    ],
    [
      "with too little data for a shape",
      fileOf(one(at(0, 3)), 3),
      "data_offsets [0,3] hold 3 bytes; U8 [4] takes 4",
      "w",
    ],
    [
      "with too much data for a shape",
      fileOf(one(at(0, 5)), 5),
      "data_offsets [0,5] hold 5 bytes; U8 [4] takes 4",
      "w",
    ],
    [
      "with a product over 2^53",
      fileOf(one('{"dtype":"I32","shape":[4294967296,4294967296],"data_offsets":[0,0]}')),
      "I32 [4294967296,4294967296] takes more than 2^53 - 1 bits",
      "w",
    ],
    [
      "with a product over 2^53 before a 0",
      fileOf(one('{"dtype":"U8","shape":[9007199254740991,8,0],"data_offsets":[0,0]}')),
      "U8 [9007199254740991,8,0] takes more than 2^53 - 1 bits",
      "w",
    ],
    [
      "with half a byte",
      fileOf(one('{"dtype":"F4","shape":[1,3],"data_offsets":[0,2]}'), 2),
      "F4 [1,3] takes 12 bits, which is not a whole number of bytes",
      "w",
    ],
    ["with a hole at the start", fileOf(one(at(1, 5)), 5), "leaves a hole before it: it begins at 1, not 0", "w"],
    [
      "with a hole in the middle",
      fileOf(`{"b":${at(5, 9)},"a":${at(0, 4)}}`, 9),
      "leaves a hole before it: it begins at 5, not 4",
      "b",
    ],
    [
      "with an overlap",
      fileOf(`{"b":${at(3, 7)},"a":${at(0, 4)}}`, 7),
      "overlaps the tensor before it: it begins at 3, not 4",
      "b",
    ],
    [
      "with the same data twice",
      fileOf(`{"a":${at(0, 4)},"b":${at(0, 4)}}`, 4),
      "overlaps the tensor before it: it begins at 0, not 4",
      "b",
    ],
    [
      "with an empty tensor inside another",
      fileOf(`{"e":{"dtype":"U8","shape":[0],"data_offsets":[2,2]},"a":${at(0, 4)}}`, 4),
      "overlaps the tensor before it: it begins at 2, not 4",
      "e",
    ],
    [
      "with bytes after the last tensor",
      fileOf(one(at(0, 4)), 6),
      "the last tensor ends at 4, but the file has 6 bytes of data",
    ],
    ["with bytes and no tensor", fileOf("{}", 1), "the last tensor ends at 0, but the file has 1 bytes of data"],
  ])("%s is refused", async (_, file, message, tensor) => {
    const prefix = tensor === undefined ? "m.safetensors: " : `m.safetensors: tensor "${tensor}": `;
    await expect(read(file)).rejects.toMatchObject({
      name: "FormatError",
      file: "m.safetensors",
      tensor,
      message: prefix + message,
    });
  });

  it("cut short while it is read is refused", async () => {
    const message = (wanted: string) => ({ name: "FormatError", message: `bytes: bytes ${wanted}` });
    await expect(readSafetensorsHeader(truncatedSource(official, 5))).rejects.toMatchObject(
      message("0 to 8 gave 5 bytes, not 8"),
    );
    await expect(readSafetensorsHeader(truncatedSource(official, 70))).rejects.toMatchObject(
      message("8 to 72 gave 62 bytes, not 64"),
    );
  });

  it("never fails in another way, whichever byte is wrong", async () => {
    const file = fileOf(
      `{"__metadata__":{"k":"v"},"a":${entry},"b":{"dtype":"F4","shape":[2],"data_offsets":[16,17]}}`,
      17,
    );
    await read(file);
    const header = file.byteLength - 17;
    await fc.assert(
      fc.asyncProperty(fc.nat(header - 1), fc.nat(255), async (where, byte) => {
        const error = await read(file.with(where, byte)).catch((reason: Error) => reason);
        if (error instanceof Error) expect(error.name).toBe("FormatError");
        else expect(error.tensors).toHaveLength(2);
      }),
      { numRuns: 2000 },
    );
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

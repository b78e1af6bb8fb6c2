import { describe, expect, it } from "vitest";
import { feedsFromNpz } from "../../src/compare/feeds.ts";
import type { ModelValueInfo } from "../../src/compare/model-runtime.ts";
import type { FeedTensor } from "../../src/compare/tensor-values.ts";
import type { NpyArray, NpzArray } from "../../src/formats/npz.ts";
import { spec } from "../helpers/input-spec.ts";

describe("feedsFromNpz", () => {
  const arrayOf = (name: string, descr: NpyArray["descr"], shape: readonly number[], data: NpyArray["data"]) =>
    ({ name, read: async () => ({ descr, shape, data }) }) satisfies NpzArray;
  const floats = (name: string, ...values: number[]) =>
    arrayOf(name, "<f4", [1, values.length], Float32Array.from(values));

  const x = spec("x", "float32", ["batch", 2]);
  const y = spec("y:0", "float32", [1, ""]);

  const readAll = (arrays: readonly NpzArray[], inputs: readonly ModelValueInfo[] = [x, y]) =>
    Promise.all(feedsFromNpz(arrays, inputs, "in.npz").map((set) => set.read()));

  const feed = (...values: number[]): FeedTensor => ({
    dtype: "float32",
    shape: [1, values.length],
    data: Float32Array.from(values),
  });

  it("makes one set of arrays called as the inputs", async () => {
    expect(await readAll([floats("y:0", 3), floats("x", 1, 2)])).toEqual([{ x: feed(1, 2), "y:0": feed(3) }]);
  });

  it("makes a set for each number, in their order", async () => {
    const arrays = [10, 9, 0].flatMap((k) => [floats(`x::${k}`, k, k), floats(`y:0::${k}`, k)]);
    expect(await readAll(arrays)).toEqual([0, 9, 10].map((k) => ({ x: feed(k, k), "y:0": feed(k) })));
  });

  it("gives an array without a number to every set", async () => {
    const arrays = [floats("y:0", 7), floats("x::0", 0, 0), floats("x::1", 1, 1)];
    expect(await readAll(arrays)).toEqual([
      { x: feed(0, 0), "y:0": feed(7) },
      { x: feed(1, 1), "y:0": feed(7) },
    ]);
  });

  it("knows inputs that are called like one of a set", async () => {
    const inputs = [spec("0", "float32", [1, 1]), spec("0::1", "float32", [1, 1])];
    expect(await readAll([floats("0", 5), floats("0::1", 6)], inputs)).toEqual([{ "0": feed(5), "0::1": feed(6) }]);
  });

  it("reads no array before its set is asked for", async () => {
    const read: string[] = [];
    const watched = [floats("x::0", 1, 2), floats("x::1", 1, 2)].map((array) => ({
      ...array,
      read: () => {
        read.push(array.name);
        return array.read();
      },
    }));
    const [, second] = feedsFromNpz(watched, [x], "in.npz");
    expect(read).toEqual([]);
    await second!.read();
    expect(read).toEqual(["x::1"]);
  });

  it.each<[what: string, arrays: readonly NpzArray[], message: string]>([
    ["an input is missing", [floats("x", 1, 2)], 'no array for the input "y:0"; save one as "y:0"'],
    [
      "an input is missing in a set",
      [floats("x::0", 1, 2), floats("y:0::0", 1), floats("x::3", 1, 2)],
      'no array for the input "y:0"; save one as "y:0::3"',
    ],
    [
      "an array is not an input",
      [floats("x", 1, 2), floats("y:0", 1), floats("z", 1)],
      'tensor "z": not an input of the model, which has "x", "y:0"',
    ],
    [
      "a number is not one",
      [floats("x::01", 1, 2), floats("y:0", 1)],
      'tensor "x::01": not an input of the model, which has "x", "y:0"',
    ],
    [
      "an input is there in both ways",
      [floats("x::2", 1, 2), floats("x", 1, 2), floats("y:0", 1)],
      'tensor "x": is there with the number 2 and without one',
    ],
  ])("says so at once when %s", (_, arrays, message) => {
    expect(() => feedsFromNpz(arrays, [x, y], "in.npz")).toThrow(
      expect.objectContaining({ name: "FormatError", file: "in.npz", message: `in.npz: ${message}` }),
    );
  });

  it.each<[shape: readonly number[], wanted: ModelValueInfo["shape"], text: string]>([
    [[1, 3], ["batch", 2], "[batch, 2]"],
    [[2], ["batch", 2], "[batch, 2]"],
    [[1, 1, 2], ["", 2], "[?, 2]"],
    [[2, 1], [1, ""], "[1, ?]"],
  ])("refuses shape %j where %j is wanted", async (shape, wanted, text) => {
    const array = arrayOf("x::0", "<f4", shape, new Float32Array(shape.reduce((n, d) => n * d, 1)));
    await expect(readAll([array], [spec("x", "float32", wanted)])).rejects.toMatchObject({
      name: "FormatError",
      message: `in.npz: tensor "x::0": shape [${shape.join(", ")}]; the input "x" takes ${text}`,
    });
  });

  it("takes any shape where the model states none", async () => {
    const [set] = await readAll([arrayOf("x", "<f4", [3, 1], new Float32Array(3))], [spec("x", "float32", [])]);
    expect(set!.x!.shape).toEqual([3, 1]);
  });

  it.each<[NpyArray["descr"], NpyArray["data"], ModelValueInfo["dtype"], FeedTensor["data"]]>([
    ["<f8", Float64Array.of(0.1, Number.NaN, -Infinity), "float32", Float32Array.of(0.1, Number.NaN, -Infinity)],
    ["<f2", Uint16Array.of(0x3c00, 0xc000, 0x7c00), "float32", Float32Array.of(1, -2, Infinity)],
    ["<f4", Float32Array.of(1, 65519, -Infinity), "float16", Uint16Array.of(0x3c00, 0x7bff, 0xfc00)],
    ["<f8", Float64Array.of(1, -2, 0.5), "float16", Uint16Array.of(0x3c00, 0xc000, 0x3800)],
    ["<f4", Float32Array.of(0.5, 1, 2), "float64", Float64Array.of(0.5, 1, 2)],
    ["|u1", Uint8Array.of(0, 128, 255), "float32", Float32Array.of(0, 128, 255)],
    ["|i1", Int8Array.of(-128, 0, 127), "float16", Uint16Array.of(0xd800, 0, 0x57f0)],
    ["<i4", Int32Array.of(-2147483648, 0, 2147483647), "int64", BigInt64Array.of(-2147483648n, 0n, 2147483647n)],
    ["<i8", BigInt64Array.of(-2147483648n, 0n, 2147483647n), "int32", Int32Array.of(-2147483648, 0, 2147483647)],
    ["|u1", Uint8Array.of(0, 1, 255), "int64", BigInt64Array.of(0n, 1n, 255n)],
    ["<i8", BigInt64Array.of(0n, 1n, 255n), "uint8", Uint8Array.of(0, 1, 255)],
    ["<i8", BigInt64Array.of(2n ** 62n + 1n, 1n, 2n), "int64", BigInt64Array.of(2n ** 62n + 1n, 1n, 2n)],
    ["|b1", Uint8Array.of(0, 1, 1), "bool", Uint8Array.of(0, 1, 1)],
  ])("converts %s %s to %s", async (descr, data, dtype, wanted) => {
    const [set] = await readAll([arrayOf("x", descr, [3], data)], [spec("x", dtype, [3])]);
    expect(set!.x).toEqual({ dtype, shape: [3], data: wanted });
  });

  it.each<[NpyArray["descr"], NpyArray["data"], ModelValueInfo["dtype"], string]>([
    ["<f8", Float64Array.of(1, 1e39), "float32", "1e+39 at flat index 1 does not fit float32, which the model wants"],
    [
      "<f4",
      Float32Array.of(-65520, 1),
      "float16",
      "-65520 at flat index 0 does not fit float16, which the model wants",
    ],
    [
      "<i8",
      BigInt64Array.of(0n, 2147483648n),
      "int32",
      "2147483648 at flat index 1 does not fit int32, which the model wants",
    ],
    [
      "<i8",
      BigInt64Array.of(-2147483649n, 0n),
      "int32",
      "-2147483649 at flat index 0 does not fit int32, which the model wants",
    ],
    ["<i4", Int32Array.of(0, -1), "uint8", "-1 at flat index 1 does not fit uint8, which the model wants"],
    ["<i4", Int32Array.of(256, -1), "uint8", "256 at flat index 0 does not fit uint8, which the model wants"],
    ["<i4", Int32Array.of(1, 2), "float32", "int32; the model wants float32: save a.astype('float32')"],
    ["<f4", Float32Array.of(1, 2), "int64", "float32; the model wants int64: save a.astype('int64')"],
    ["|u1", Uint8Array.of(0, 1), "bool", "uint8; the model wants bool: save a.astype('bool')"],
    ["|b1", Uint8Array.of(0, 1), "uint8", "bool; the model wants uint8: save a.astype('uint8')"],
    ["<u8", BigUint64Array.of(0n, 1n), "int64", "uint64; the model wants int64: save a.astype('int64')"],
    ["<i8", BigInt64Array.of(0n, 1n), "uint64", "int64; the model wants uint64: save a.astype('uint64')"],
    ["<f4", Float32Array.of(0, 1), "string", "the model wants string, which cannot be fed"],
    ["|u1", Uint8Array.of(0, 1), "uint4", "the model wants uint4, which cannot be fed"],
  ])("refuses to convert %s %s to %s", async (descr, data, dtype, message) => {
    await expect(readAll([arrayOf("x", descr, [2], data)], [spec("x", dtype, [2])])).rejects.toMatchObject({
      name: "FormatError",
      message: `in.npz: tensor "x": ${message}`,
    });
  });
});

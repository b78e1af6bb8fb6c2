import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readSafetensorsHeader, safetensorsTypes } from "../../src/formats/safetensors.ts";
import { fileOf, lengthOf, official, read } from "../helpers/safetensors-bytes.ts";
import { bytesOf, truncatedSource } from "../helpers/sources.ts";

const one = (entry: string) => `{"w":${entry}}`;

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

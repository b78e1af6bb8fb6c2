import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import {
  encodeNpyHeader,
  hasNpyMagic,
  type NpyDType,
  npyTypes,
  readNpyHeader,
  writeNpy,
} from "../../src/formats/npy.ts";
import { bytesOf, recordingSource, truncatedSource } from "../helpers/sources.ts";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** A file of `dict` as given, unpadded, and `dataBytes` zeros. */
function fileOf(dict: string | readonly number[], dataBytes = 0, version = 1): Uint8Array {
  const text = bytesOf(dict);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.byteLength, true);
  return bytesOf([...MAGIC, version, 0], length.subarray(0, version === 1 ? 2 : 4), text, new Uint8Array(dataBytes));
}

const dictOf = (descr: string, shape: string, order = "False") =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`;

const read = (bytes: Uint8Array) => readNpyHeader(bytesSource(bytes, "x.npy"));

// np.save(path, np.arange(6, dtype="<f4").reshape(2, 3)), NumPy 2.4.6
const matrix = bytesOf(
  [...MAGIC, 1, 0, 118, 0],
  `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }${" ".repeat(58)}\n`,
  [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 64, 0, 0, 160, 64],
);

// np.save(path, np.array(7, dtype="<i8"))
const scalar = bytesOf(
  [...MAGIC, 1, 0, 118, 0],
  `{'descr': '<i8', 'fortran_order': False, 'shape': (), }${" ".repeat(62)}\n`,
  [7, 0, 0, 0, 0, 0, 0, 0],
);

// np.save(path, np.zeros((0, 3), "|u1"))
const empty = bytesOf(
  [...MAGIC, 1, 0, 118, 0],
  `{'descr': '|u1', 'fortran_order': False, 'shape': (0, 3), }${" ".repeat(58)}\n`,
);

describe("readNpyHeader", () => {
  it("reads the header and nothing of the data", async () => {
    const source = recordingSource(matrix);
    expect(await readNpyHeader(source)).toEqual({ descr: "<f4", shape: [2, 3], start: 128 });
    expect(source.reads).toEqual([
      [0, 12],
      [10, 128],
    ]);
  });

  it("reads NumPy's scalars and empty arrays", async () => {
    expect(await read(scalar)).toEqual({ descr: "<i8", shape: [], start: 128 });
    expect(await read(empty)).toEqual({ descr: "|u1", shape: [0, 3], start: 128 });
  });

  it.each([1, 2, 3])("reads version %i.0", async (version) => {
    const file = fileOf(dictOf("'<f2'", "(3,)"), 6, version);
    expect(await read(file)).toEqual({ descr: "<f2", shape: [3], start: file.byteLength - 6 });
  });

  it.each([
    ["double quotes, other key order, no trailing comma", `{"shape":(2,3),"descr":"<f4","fortran_order":False}`],
    [
      "trailing commas and line breaks",
      "\t{ 'fortran_order' : False,\n 'shape' : ( 2 , 3 , ) ,\r\n 'descr' : '<f4' , } \n",
    ],
    ["Python 2's long integers", dictOf("'<f4'", "(2L, 3L)")],
  ])("reads %s", async (_, dict) => {
    expect(await read(fileOf(dict, 24))).toMatchObject({ descr: "<f4", shape: [2, 3] });
  });

  it("reads one-byte types whatever byte order they state", async () => {
    expect(await read(fileOf(dictOf("'<i1'", "(2,)"), 2))).toMatchObject({ descr: "|i1" });
    expect(await read(fileOf(dictOf("'>b1'", "(2,)"), 2))).toMatchObject({ descr: "|b1" });
  });

  it("reads Fortran order where it is row-major all the same", async () => {
    expect(await read(fileOf(dictOf("'<f4'", "(2,)", "True"), 8))).toMatchObject({ shape: [2] });
    expect(await read(fileOf(dictOf("'<f4'", "()", "True"), 4))).toMatchObject({ shape: [] });
  });
});

describe("an array of another kind", () => {
  const types = Object.keys(npyTypes).join(", ");

  it.each([
    ["'>f4'", "big-endian numbers; save a.astype('<f4')"],
    ["'>i8'", "big-endian numbers; save a.astype('<i8')"],
    ["'|O'", "data type \"|O\" is Python objects (a pickle); save a.astype('<f4')"],
    ["'|S2'", 'data type "|S2" is byte strings; save numbers'],
    ["'|S1'", 'data type "|S1" is byte strings; save numbers'],
    ["'<U2'", 'data type "<U2" is text; save numbers'],
    ["'<c8'", 'data type "<c8" is complex numbers; save a.real and a.imag, each on its own'],
    ["'<M8[D]'", "data type \"<M8[D]\" is dates; save a.astype('<i8')"],
    ["'<m8[s]'", "data type \"<m8[s]\" is time spans; save a.astype('<i8')"],
    ["'|V2'", "data type \"|V2\" is raw bytes (bfloat16 ends up so); save a.astype('<f4')"],
    ["'<f16'", `data type "<f16" is not one of ${types}; save a.astype('<f4')`],
    ["'f4'", `data type "f4" is not one of ${types}; save a.astype('<f4')`],
    ["'toString'", `data type "toString" is not one of ${types}; save a.astype('<f4')`],
    ["''", `data type "" is not one of ${types}; save a.astype('<f4')`],
    ["[('a', '<i4'), ('b', '<f4')]", "structured array; save each field on its own: a['field']"],
    ["('<f4', (2,))", "array of sub-arrays; save a.astype('<f4')"],
  ])("of descr %s is refused, with what to do", async (descr, message) => {
    await expect(read(fileOf(dictOf(descr, "(1,)"), 4))).rejects.toMatchObject({
      name: "FormatError",
      file: "x.npy",
      message: `x.npy: ${message}`,
    });
  });

  it("in Fortran order is refused, with what to do", async () => {
    await expect(read(fileOf(dictOf("'<f4'", "(2, 3)", "True"), 24))).rejects.toMatchObject({
      name: "FormatError",
      message: "x.npy: Fortran order; save np.ascontiguousarray(a)",
    });
  });
});

describe("a malformed .npy file", () => {
  const f4 = (shape: string, dataBytes = 0) => fileOf(dictOf("'<f4'", shape), dataBytes);

  it.each<[what: string, file: Uint8Array, message: string]>([
    ["of no bytes", bytesOf(), "not a .npy file: it does not start with \\x93NUMPY"],
    ["with other magic", matrix.with(0, 0x92), "not a .npy file: it does not start with \\x93NUMPY"],
    ["of 11 bytes", matrix.subarray(0, 11), "11 bytes are too few for a .npy file"],
    ["of version 0.0", matrix.with(6, 0), "version 0.0 is not one of 1.0, 2.0, 3.0"],
    ["of version 4.0", matrix.with(6, 4), "version 4.0 is not one of 1.0, 2.0, 3.0"],
    ["of version 1.1", matrix.with(7, 1), "version 1.1 is not one of 1.0, 2.0, 3.0"],
    ["shorter than its header", matrix.subarray(0, 100), "header length 118 is over the 90 bytes that follow it"],
    [
      "of version 2.0 shorter than its header",
      bytesOf([...MAGIC, 2, 0, 255, 255, 255, 255]),
      "header length 4294967295 is over the 0 bytes that follow it",
    ],
    [
      "with a huge header",
      fileOf(" ".repeat(1_000_001), 0, 2),
      "header length 1000001 is over the limit of 1000000 bytes",
    ],
    ["that is not UTF-8", fileOf([0x7b, 0xff], 0, 3), "header is not utf-8"],
    ["with too little data", matrix.subarray(0, 148), "20 bytes of data; '<f4' [2,3] takes 24"],
    ["with too much data", bytesOf(matrix, [0]), "25 bytes of data; '<f4' [2,3] takes 24"],
    [
      "with a negative dimension",
      f4("(2, -1)"),
      'bad header: expected a dimension from 0 to 2^53 - 1 at character 54, found "-1"',
    ],
    [
      "with a dimension over 2^53",
      f4("(9007199254740992,)"),
      'bad header: expected a dimension from 0 to 2^53 - 1 at character 51, found "9007199254740992"',
    ],
    [
      "with a product over 2^53",
      f4("(4294967296, 4294967296)"),
      "'<f4' [4294967296,4294967296] takes more than 2^53 - 1 bytes",
    ],
    ["with half a dimension", f4("(0.5,)"), `bad header: expected ',' or ')' at character 52, found "."`],
    ["with an octal dimension", f4("(010,)"), `bad header: expected ',' or ')' at character 52, found "10"`],
    [
      "with a boolean dimension",
      f4("(True,)"),
      'bad header: expected a dimension from 0 to 2^53 - 1 at character 51, found "True"',
    ],
    ["with a number for a shape", f4("(3)", 12), `bad header: expected ',' at character 52, found ")"`],
    ["with a list for a shape", f4("[3]", 12), 'bad header: expected a tuple at character 50, found "["'],
    ["with a lone comma", f4("(,)"), 'bad header: expected a dimension from 0 to 2^53 - 1 at character 51, found ","'],
    [
      "with an order that is no boolean",
      fileOf(dictOf("'<f4'", "()", "0"), 4),
      'bad header: expected True or False at character 34, found "0"',
    ],
    [
      "with a descr that is no string",
      fileOf(dictOf("None", "()"), 4),
      'bad header: expected a string at character 10, found "None"',
    ],
    [
      "with an escape",
      fileOf(dictOf("'\\x3cf4'", "()"), 4),
      `bad header: expected a string at character 10, found "'"`,
    ],
    [
      "with an expression",
      fileOf(dictOf("'<'+'f4'", "()"), 4),
      `bad header: expected ',' or '}' at character 13, found "+"`,
    ],
    ["with no dict", fileOf("'<f4'"), `bad header: expected '{' at character 0, found "'<f4'"`],
    ["with an open dict", fileOf("{'descr': '<f4'"), "bad header: expected ',' or '}' at character 15, found the end"],
    [
      "with something after the dict",
      fileOf(`${dictOf("'<f4'", "()")}0`, 4),
      'bad header: expected nothing more at character 56, found "0"',
    ],
    [
      "with a NUL after the dict",
      fileOf(`${dictOf("'<f4'", "()")}\0`, 4),
      'bad header: expected nothing more at character 56, found "\\u0000"',
    ],
    ["with a key twice", fileOf("{'descr': '<f4', 'descr': '<f4'}"), "bad header: key 'descr' is given twice"],
    [
      "with an unknown key",
      fileOf("{'__proto__': '<f4'}"),
      `bad header: key "__proto__" is not one of 'descr', 'fortran_order', 'shape'`,
    ],
    ["with no descr", fileOf("{'fortran_order': False, 'shape': ()}"), "bad header: no 'descr'"],
    ["with no order", fileOf("{'descr': '<f4', 'shape': ()}"), "bad header: no 'fortran_order'"],
    ["with no shape", fileOf("{'descr': '<f4', 'fortran_order': False}"), "bad header: no 'shape'"],
  ])("%s is refused", async (_, file, message) => {
    await expect(read(file)).rejects.toMatchObject({
      name: "FormatError",
      file: "x.npy",
      message: `x.npy: ${message}`,
    });
  });

  it("cut short while it is read is refused", async () => {
    const message = (wanted: string) => ({ name: "FormatError", message: `bytes: bytes ${wanted}` });
    await expect(readNpyHeader(truncatedSource(matrix, 5))).rejects.toMatchObject(
      message("0 to 12 gave 5 bytes, not 12"),
    );
    await expect(readNpyHeader(truncatedSource(matrix, 90))).rejects.toMatchObject(
      message("10 to 128 gave 80 bytes, not 118"),
    );
  });

  it("never fails in another way, whichever byte is wrong", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(127), fc.nat(255), async (where, byte) => {
        const error = await read(matrix.with(where, byte)).catch((reason: Error) => reason);
        if (error instanceof Error) expect(error.name).toBe("FormatError");
        else expect(error.shape.reduce((product, size) => product * size, npyTypes[error.descr])).toBe(24);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("encodeNpyHeader", () => {
  it("gives NumPy's bytes", () => {
    expect(encodeNpyHeader("<f4", [2, 3])).toEqual(matrix.subarray(0, 128));
    expect(encodeNpyHeader("<i8", [])).toEqual(scalar.subarray(0, 128));
    expect(encodeNpyHeader("|u1", [0, 3])).toEqual(empty);
    expect(new TextDecoder().decode(encodeNpyHeader("|b1", [2]).subarray(10)).trimEnd()).toBe(
      "{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }",
    );
  });

  it("takes version 2.0 where 1.0 has no room", async () => {
    const shape = Array.from({ length: 30_000 }, () => 1);
    const header = encodeNpyHeader("|u1", shape);
    expect([header[6], header[7], header.byteLength % 64, header.at(-1)]).toEqual([2, 0, 0, 0x0a]);
    expect(await read(bytesOf(header, [0]))).toEqual({ descr: "|u1", shape, start: header.byteLength });
  });

  it("pads to 64 bytes at every length, around version 1.0's limit too", async () => {
    for (let ones = 21_799; ones < 21_860; ones++) {
      const header = encodeNpyHeader("|u1", [...Array.from({ length: ones }, () => 1), 0]);
      expect([header.byteLength % 64, header.at(-1), header[6]]).toEqual([0, 0x0a, header.byteLength > 65_545 ? 2 : 1]);
      expect((await read(header)).start).toBe(header.byteLength);
    }
  });

  it.each<[what: string, encode: () => unknown, message: string]>([
    [
      "an unknown type",
      () => encodeNpyHeader(">f4" as never, []),
      `descr: must be one of ${Object.keys(npyTypes).join(", ")}, got ">f4"`,
    ],
    [
      "a negative size",
      () => encodeNpyHeader("<f4", [2, -1]),
      "shape: must hold integers from 0 to 2^53 - 1, got [2,-1]",
    ],
    ["half a size", () => encodeNpyHeader("<f4", [0.5]), "shape: must hold integers from 0 to 2^53 - 1, got [0.5]"],
  ])("refuses %s", (_, encode, message) => {
    expect(encode).toThrow(expect.objectContaining({ name: "ArgumentError", message }));
  });
});

describe("writeNpy", () => {
  it("gives NumPy's bytes", async () => {
    const sink = bytesSink();
    await writeNpy(sink, { descr: "<f4", shape: [2, 3], data: matrix.subarray(128) });
    expect(sink.result()).toEqual(matrix);
  });

  it.each([
    [[2, 3], "data: 20 bytes; '<f4' [2,3] takes 24"],
    [[2 ** 52], "shape: '<f4' [4503599627370496] takes more than 2^53 - 1 bytes"],
  ])("writes nothing where the data does not fill shape %j", async (shape, message) => {
    const sink = bytesSink();
    await expect(writeNpy(sink, { descr: "<f4", shape, data: new Uint8Array(20) })).rejects.toMatchObject({
      name: "ArgumentError",
      message,
    });
    expect(sink.result().byteLength).toBe(0);
  });

  it("writes what the reader reads back", async () => {
    const descrs = fc.constantFrom(...(Object.keys(npyTypes) as NpyDType[]));
    await fc.assert(
      fc.asyncProperty(descrs, fc.array(fc.nat(4), { maxLength: 5 }), fc.nat(255), async (descr, shape, seed) => {
        const bytes = shape.reduce((product, size) => product * size, npyTypes[descr]);
        const data = Uint8Array.from({ length: bytes }, (_, i) => seed + i);
        const sink = bytesSink();
        await writeNpy(sink, { descr, shape, data });
        const header = await read(sink.result());
        expect(header).toEqual({ descr, shape, start: header.start });
        expect(header.start % 64).toBe(0);
        expect(sink.result().slice(header.start)).toEqual(data);
      }),
    );
  });
});

describe("hasNpyMagic", () => {
  it("tells a .npy file by its first six bytes", () => {
    expect(hasNpyMagic(matrix)).toBe(true);
    expect(hasNpyMagic(bytesOf(MAGIC))).toBe(true);
    expect(hasNpyMagic(bytesOf(MAGIC.slice(0, 5)))).toBe(false);
    expect(hasNpyMagic(bytesOf("PK\u0003\u0004"))).toBe(false);
  });
});

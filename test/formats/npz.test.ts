import { describe, expect, it } from "vitest";
import { bytesSource } from "../../src/formats/byte-source.ts";
import type { NpyDType } from "../../src/formats/npy.ts";
import { type NpyData, readNpz } from "../../src/formats/npz.ts";
import {
  COMPRESSED_SIZE,
  DEFLATED,
  FLAGS,
  METHOD,
  npy,
  patched,
  recordOf,
  STORED,
  UNCOMPRESSED_SIZE,
  zip,
} from "../helpers/npz.ts";
import { bytesOf, recordingSource, truncatedSource } from "../helpers/sources.ts";

const x = npy("<f4", [2, 3], Float32Array.of(0, 1, 2, -3, 0.5, 1e10));
const flat = npy("<f4", [50_000], new Float32Array(50_000).fill(1));

const open = (bytes: Uint8Array) => readNpz(bytesSource(bytes, "x.npz"));

/** Everything in a file. */
async function readAll(bytes: Uint8Array) {
  const arrays = [];
  for (const { name, read } of await open(bytes)) arrays.push({ name, ...(await read()) });
  return arrays;
}

describe("readNpz", () => {
  it.each([
    ["stored", STORED],
    ["deflated", DEFLATED],
    ["zip64", { ...STORED, zip64: true }],
    ["deflated zip64", { ...DEFLATED, zip64: true }],
    ["streamed, sizes after the data", { level: 5, dataDescriptor: true }],
  ] as const)("reads members that are %s", async (_, options) => {
    const bytes = await zip(["x::0.npy", x, options], ["/model/x.npy", flat, options], ["é/../y.npy", x, options]);
    expect(await readAll(bytes)).toEqual([
      { name: "x::0", descr: "<f4", shape: [2, 3], data: Float32Array.of(0, 1, 2, -3, 0.5, 1e10) },
      { name: "/model/x", descr: "<f4", shape: [50_000], data: new Float32Array(50_000).fill(1) },
      { name: "é/../y", descr: "<f4", shape: [2, 3], data: Float32Array.of(0, 1, 2, -3, 0.5, 1e10) },
    ]);
  });

  it.each<[NpyDType, NpyData]>([
    ["<f2", Uint16Array.of(0x3c00, 0x7bff)],
    ["<f4", Float32Array.of(1.5, Number.NaN)],
    ["<f8", Float64Array.of(0.1, -1e300)],
    ["|i1", Int8Array.of(-128, 127)],
    ["|u1", Uint8Array.of(0, 255)],
    ["<i2", Int16Array.of(-32768, 32767)],
    ["<u2", Uint16Array.of(0, 65535)],
    ["<i4", Int32Array.of(-2147483648, 2147483647)],
    ["<u4", Uint32Array.of(0, 4294967295)],
    ["<i8", BigInt64Array.of(-9223372036854775808n, 9223372036854775807n)],
    ["<u8", BigUint64Array.of(0n, 18446744073709551615n)],
    ["|b1", Uint8Array.of(0, 1)],
  ])("gives %s as the array of that type", async (descr, data) => {
    const [array] = await readAll(await zip(["a.npy", npy(descr, [2, 1], data), DEFLATED]));
    expect(array).toEqual({ name: "a", descr, shape: [2, 1], data });
    expect(Object.prototype.toString.call(array!.data)).toBe(Object.prototype.toString.call(data));
  });

  it("reads scalars, empty arrays, data at odd offsets, and a file of no arrays", async () => {
    const header = `{'descr': '<i8', 'fortran_order': False, 'shape': (), }`;
    const odd = bytesOf([0x93], "NUMPY", [1, 0, header.length, 0], header, [7, 0, 0, 0, 0, 0, 0, 0]);
    const bytes = await zip(["odd.npy", odd, STORED], ["empty.npy", npy("<f4", [0, 3], new Float32Array(0)), DEFLATED]);
    expect(await readAll(bytes)).toEqual([
      { name: "odd", descr: "<i8", shape: [], data: BigInt64Array.of(7n) },
      { name: "empty", descr: "<f4", shape: [0, 3], data: new Float32Array(0) },
    ]);
    expect(await open(await zip())).toEqual([]);
  });

  it("reads data only when an array is asked for, and of that array alone", async () => {
    const bytes = await zip(["a.npy", flat, STORED], ["b.npy", x, STORED]);
    const source = recordingSource(bytes);
    const [, b] = await readNpz(source);
    // the end of a zip may be followed by 64 kB of comment
    expect(Math.min(...source.reads.map(([start]) => start))).toBeGreaterThan(bytes.byteLength - 66_000);
    source.reads.length = 0;
    await b!.read();
    expect(source.reads.length).toBeGreaterThan(0);
    for (const [start, end] of source.reads) {
      expect(start).toBeGreaterThanOrEqual(flat.byteLength);
      expect(end).toBeLessThanOrEqual(bytes.byteLength);
    }
  });

  it("reads long members bit by bit", async () => {
    const long = npy(
      "|u1",
      [300_000],
      new Uint8Array(300_000).map((_, i) => i % 251),
    );
    const source = recordingSource(await zip(["a.npy", long, STORED]));
    const [array] = await readNpz(source);
    source.reads.length = 0;
    expect((await array!.read()).data).toEqual(new Uint8Array(300_000).map((_, i) => i % 251));
    expect(Math.max(...source.reads.map(([start, end]) => end - start))).toBe(2 ** 18);
  });

  it("reads an array again", async () => {
    const [array] = await open(await zip(["a.npy", x, DEFLATED]));
    expect(await array!.read()).toEqual(await array!.read());
  });
});

describe("a .npz file that is not one", () => {
  const refusal = (message: string, tensor?: string) => ({ name: "FormatError", file: "x.npz", tensor, message });

  it.each<[what: string, make: () => Uint8Array | Promise<Uint8Array>, message: string]>([
    ["of no bytes", () => bytesOf(), "x.npz: not a .npz file (File format is not recognized)"],
    ["that is a .npy file", () => x, "x.npz: not a .npz file (End of central directory not found)"],
    [
      "with a member of another kind",
      () => zip(["a.npy", x], ["notes\n.txt", x]),
      'x.npz: member "notes\\n.txt" is not a .npy file; np.savez writes nothing else',
    ],
  ])("%s is refused when it is opened", async (_, make, message) => {
    await expect(open(await make())).rejects.toMatchObject(refusal(message));
  });

  it("that counts fewer members than it lists is refused when it is opened", async () => {
    const bytes = await zip(["a.npy", x], ["b.npy", x]);
    const counts = bytes.byteLength - 14;
    expect([bytes[counts], bytes[counts + 2]]).toEqual([2, 2]);
    await expect(open(bytes.with(counts, 1).with(counts + 2, 1))).rejects.toMatchObject(
      refusal("x.npz: not a .npz file (lists more than the 1 members it counts)"),
    );
  });

  it("with two members of one name is refused when it is opened", async () => {
    const bytes = await zip(["a.npy", x, STORED], ["b.npy", x, STORED]);
    bytes[recordOf(bytes, 1) + 46] = "a".charCodeAt(0);
    await expect(open(bytes)).rejects.toMatchObject(refusal('x.npz: tensor "a": is there twice', "a"));
  });

  const stored = () => zip(["a.npy", x, STORED]);
  const deflated = () => zip(["a.npy", flat, DEFLATED]);

  it.each<[what: string, make: () => Promise<Uint8Array>, message: string]>([
    ["encrypted", () => zip(["a.npy", x, { password: "p" }]), "is encrypted; save it without a password"],
    [
      "encrypted by its flag",
      async () => patched(await stored(), FLAGS, 2, 1),
      "is encrypted; save it without a password",
    ],
    [
      "compressed otherwise",
      async () => patched(await deflated(), METHOD, 2, 14),
      "compression method 14; save with np.savez or np.savez_compressed",
    ],
    ["no array", () => zip(["a.npy", bytesOf("text")]), "not a .npy file: it does not start with \\x93NUMPY"],
    [
      "an array longer than its header says",
      () => zip(["a.npy", bytesOf(x, [0])]),
      "25 bytes of data; '<f4' [2,3] takes 24",
    ],
    [
      "an array shorter than its header says",
      () => zip(["a.npy", x.subarray(0, -1)]),
      "23 bytes of data; '<f4' [2,3] takes 24",
    ],
    [
      "said to hold more than it can, stored",
      async () => patched(await stored(), UNCOMPRESSED_SIZE, 4, x.byteLength + 1),
      `stored in ${x.byteLength} bytes, but said to be ${x.byteLength + 1}`,
    ],
    [
      "said to hold less than it does, stored",
      async () => patched(await stored(), UNCOMPRESSED_SIZE, 4, x.byteLength - 1),
      `stored in ${x.byteLength} bytes, but said to be ${x.byteLength - 1}`,
    ],
    [
      "said to hold more than it can, deflated",
      async () => patched(patched(await deflated(), COMPRESSED_SIZE, 4, 300), UNCOMPRESSED_SIZE, 4, 300 * 1032 + 1),
      "300 bytes cannot hold the 309601 they should",
    ],
    [
      "said to hold more than it does",
      async () => patched(await deflated(), UNCOMPRESSED_SIZE, 4, flat.byteLength + 1),
      "damaged (Invalid CRC32)",
    ],
    [
      "said to hold less than it does",
      async () => patched(await deflated(), UNCOMPRESSED_SIZE, 4, 1000),
      "damaged (Invalid uncompressed size)",
    ],
    [
      "with a flipped bit",
      async () => {
        const bytes = await stored();
        const at = recordOf(bytes, 0) - 1;
        return bytes.with(at, bytes[at]! ^ 1);
      },
      "damaged (Invalid CRC32)",
    ],
    [
      "in a folder's place",
      async () => {
        const bytes = await stored();
        return bytes.with(recordOf(bytes, 0) + 41, 0x41);
      },
      "is a folder, not a .npy file",
    ],
  ])("a member that is %s is refused when it is read", async (_, make, message) => {
    const [array] = await open(await make());
    const read = async () => array!.read();
    await expect(read()).rejects.toMatchObject(refusal(`x.npz: tensor "a": ${message}`, "a"));
  });

  it("cut short anywhere is a FormatError", async () => {
    const bytes = await zip(["a.npy", x, STORED], ["b.npy", x, DEFLATED]);
    for (let length = 0; length < bytes.byteLength; length++) {
      await expect(open(bytes.subarray(0, length)), `${length} bytes`).rejects.toMatchObject({ name: "FormatError" });
    }
  });

  it("with any byte changed is a FormatError or the same arrays", async () => {
    const bytes = await zip(["a.npy", x, STORED], ["b.npy", x, DEFLATED]);
    const contents = (await readAll(bytes)).map(({ name: _, ...array }) => array);
    for (let at = 0; at < bytes.byteLength; at++) {
      const read = await readAll(bytes.with(at, bytes[at]! ^ 0xff)).catch((error: Error) => error);
      if (read instanceof Error) expect(read.name, `byte ${at}: ${read.stack}`).toBe("FormatError");
      else
        expect(
          read.map(({ name: _, ...array }) => array),
          `byte ${at}`,
        ).toEqual(contents);
    }
  });

  it("that shrinks while it is read is a FormatError of the file beneath", async () => {
    const bytes = await zip(["a.npy", flat, STORED]);
    let length = bytes.byteLength;
    const source = { ...bytesSource(bytes, "x.npz"), slice: (start: number, end: number) => cut(start, end) };
    const cut = (start: number, end: number) => truncatedSource(bytes, length).slice(start, end);
    const [array] = await readNpz(source);
    length = 1000;
    await expect(array!.read()).rejects.toMatchObject({
      name: "FormatError",
      message: expect.stringMatching(/^x\.npz: bytes \d+ to \d+ gave \d+ bytes, not \d+$/),
    });
  });
});

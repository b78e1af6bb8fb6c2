import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesSource, readExactly } from "../../src/formats/byte-source.ts";
import { encodeNpyHeader } from "../../src/formats/npy.ts";
import { type NpzMember, openNpzMembers } from "../../src/formats/npz.ts";
import {
  COMPRESSED_SIZE,
  CRC32,
  DEFLATED,
  largeZip,
  METHOD,
  npy,
  patched,
  recordOf,
  STORED,
  UNCOMPRESSED_SIZE,
  zip,
} from "../helpers/npz.ts";
import { randomOf } from "../helpers/random.ts";
import { bytesOf, recordingSource, truncatedSource } from "../helpers/sources.ts";

const x = npy("<f4", [2, 3], Float32Array.of(0, 1, 2, -3, 0.5, 1e10));

// some of it deflates well and some of it does not
const random = randomOf(7);
const values = Uint8Array.from({ length: 300_000 }, (_, i) => (i % 50_000 < 20_000 ? 7 : 256 * random()));
const long = npy("|u1", [300, 1000], values);

const open = (bytes: Uint8Array) => openNpzMembers(bytesSource(bytes, "x.npz"));

/** `toEqual` takes its time over long arrays. */
const expectBytes = (given: Uint8Array, wanted: Uint8Array) => expect(Buffer.compare(given, wanted)).toBe(0);

const dataOf = ({ source, start, end, name }: NpzMember) => readExactly(source, start, end, name);

describe("openNpzMembers", () => {
  it("gives stored arrays as places of the file itself", async () => {
    const file = bytesSource(await zip(["a.npy", long, STORED], ["/b::0.npy", x, STORED]), "x.npz");
    const [a, b, ...others] = await openNpzMembers(file);
    expect(others).toEqual([]);
    expect(a).toMatchObject({ name: "a", descr: "|u1", shape: [300, 1000] });
    expect(b).toMatchObject({ name: "/b::0", descr: "<f4", shape: [2, 3] });
    expect(a!.source).toBe(file);
    expectBytes(await dataOf(a!), values);
    expect(await dataOf(b!)).toEqual(x.subarray(-24));
  });

  it.each([
    ["deflated", DEFLATED],
    ["zip64", { ...STORED, zip64: true }],
    ["deflated zip64", { ...DEFLATED, zip64: true }],
    ["streamed, sizes after the data", { level: 5, dataDescriptor: true }],
  ] as const)("reads members that are %s", async (_, options) => {
    const members = await open(await zip(["a.npy", long, options], ["b.npy", x, options]));
    expect(members).toMatchObject([
      { name: "a", descr: "|u1", shape: [300, 1000] },
      { name: "b", descr: "<f4", shape: [2, 3] },
    ]);
    for (const { source } of members) expect(source.sequential ?? false).toBe(options.level > 0);
    expectBytes(await dataOf(members[0]!), values);
    expect(await dataOf(members[1]!)).toEqual(x.subarray(-24));
    expectBytes(await dataOf(members[0]!), values);
  });

  it("reads empty arrays, scalars and a file of no arrays", async () => {
    const empty = npy("<f4", [0, 3], new Float32Array(0));
    const [a, b, c] = await open(
      await zip(
        ["a.npy", empty, DEFLATED],
        ["b.npy", empty, STORED],
        ["c.npy", npy("|i1", [], Int8Array.of(5)), DEFLATED],
      ),
    );
    expect((await dataOf(a!)).byteLength).toBe(0);
    expect((await dataOf(b!)).byteLength).toBe(0);
    expect(c!.shape).toEqual([]);
    expect(await dataOf(c!)).toEqual(Uint8Array.of(5));
    expect(await open(await zip())).toEqual([]);
  });

  it("reads headers only, bit by bit", async () => {
    const bytes = await zip(["a.npy", long, STORED], ["b.npy", long, DEFLATED]);
    const source = recordingSource(bytes);
    await openNpzMembers(source);
    // the end of a zip may be followed by 64 kB of comment
    const early = source.reads.filter(([start]) => start < bytes.byteLength - 66_000);
    expect(early.length).toBeGreaterThan(0);
    expect(early.reduce((sum, [start, end]) => sum + end - start, 0)).toBeLessThan(150_000);
    expect(Math.max(...source.reads.map(([start, end]) => end - start))).toBeLessThanOrEqual(66_000);
  });

  it("inflates front to back in one pass, and begins anew for what lies before", async () => {
    const bytes = await zip(["a.npy", long, DEFLATED]);
    const source = recordingSource(bytes);
    const [a] = await openNpzMembers(source);
    const pass = async () => {
      source.reads.length = 0;
      const into = new Uint8Array(10_000);
      for (let at = a!.start; at < a!.end; at += into.byteLength) {
        expect(await a!.source.read!(at, into)).toBe(into.byteLength);
        expectBytes(into, values.subarray(at - a!.start, at - a!.start + into.byteLength));
      }
      return source.reads.slice();
    };
    const reads = await pass();
    expect(reads.length).toBeGreaterThan(1);
    for (const [i, [start, end]] of reads.entries()) {
      expect(end - start).toBeLessThanOrEqual(65_536);
      if (i > 0) expect(start).toBe(reads[i - 1]![1]);
    }
    expect(await pass()).toEqual(reads);
  });

  it("gives the same bytes whatever is asked for, in whatever order and at once", async () => {
    const [a] = await open(await zip(["a.npy", long, DEFLATED]));
    const { source } = a!;
    const places = fc.array(fc.tuple(fc.nat(long.byteLength + 10), fc.nat(100_000)), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(places, fc.boolean(), async (asked, slices) => {
        const given = await Promise.all(
          asked.map(async ([start, length]) => {
            if (slices) return source.slice(start, start + length);
            const into = new Uint8Array(length);
            return into.subarray(0, await source.read!(start, into));
          }),
        );
        for (const [i, [start, length]] of asked.entries()) {
          expectBytes(given[i]!, long.subarray(start, start + length));
        }
      }),
      { numRuns: 30 },
    );
  });

  it("finds its way in files beyond 4 GiB", async () => {
    const GIB = 2 ** 30;
    const head = encodeNpyHeader("<f4", [5, 2 ** 28]);
    const source = largeZip([
      { name: "a.npy", head, byteLength: head.byteLength + 5 * GIB },
      { name: "b.npy", head: x, byteLength: x.byteLength },
    ]);
    const [a, b] = await openNpzMembers(source);
    expect(a).toMatchObject({ name: "a", shape: [5, 2 ** 28], source });
    expect(a!.end - a!.start).toBe(5 * GIB);
    expect(b!.start).toBeGreaterThan(5 * GIB);
    expect(await dataOf(b!)).toEqual(x.subarray(-24));
  });
});

describe("a member that streams", () => {
  const refusal = (message: string | RegExp) => ({
    name: "FormatError",
    file: "x.npz",
    tensor: "a",
    message:
      typeof message === "string"
        ? `x.npz: tensor "a": ${message}`
        : expect.stringMatching(new RegExp(`^x\\.npz: tensor "a": ${message.source}$`)),
  });
  const NO_FIT = "it does not inflate to bytes of the length and checksum it has in the zip";
  // whether the stream's end or its checksum is found wrong first is up to the engine
  const damaged = refusal(new RegExp(`damaged \\((${NO_FIT}|it (ends|goes on) after .*)\\)`));
  const stored = (bytes = x) => zip(["a.npy", bytes, STORED]);
  const deflated = (bytes = long) => zip(["a.npy", bytes, DEFLATED]);
  const withDict = (dict: string) => bytesOf([0x93], "NUMPY", [1, 0, dict.length, 0], dict, new Uint8Array(24));
  const fortran = withDict("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }");
  const swapped = withDict("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }");
  const objects = withDict("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }");

  it.each<[what: string, make: () => Promise<Uint8Array>, message: string]>([
    ["encrypted", () => zip(["a.npy", x, { password: "p" }]), "is encrypted; save it without a password"],
    [
      "compressed otherwise",
      async () => patched(await deflated(), METHOD, 2, 14),
      "compression method 14; save with np.savez or np.savez_compressed",
    ],
    ["in Fortran order", () => stored(fortran), "Fortran order; save np.ascontiguousarray(a)"],
    ["in Fortran order, deflated", () => deflated(fortran), "Fortran order; save np.ascontiguousarray(a)"],
    ["big-endian", () => deflated(swapped), "big-endian numbers; save a.astype('<f4')"],
    ["of objects", () => deflated(objects), "data type \"|O\" is Python objects (a pickle); save a.astype('<f4')"],
    ["no array", () => stored(bytesOf("text")), "not a .npy file: it does not start with \\x93NUMPY"],
    ["no array, deflated", () => deflated(bytesOf("text")), "not a .npy file: it does not start with \\x93NUMPY"],
    ["longer than its header says", () => deflated(bytesOf(x, [0])), "25 bytes of data; '<f4' [2,3] takes 24"],
    [
      "said to be longer than its header says",
      async () => patched(await deflated(), UNCOMPRESSED_SIZE, 4, long.byteLength + 1),
      "300001 bytes of data; '|u1' [300,1000] takes 300000",
    ],
    [
      "said to be longer than it is stored",
      async () => patched(await stored(), UNCOMPRESSED_SIZE, 4, x.byteLength + 1),
      `stored in ${x.byteLength} bytes, but said to be ${x.byteLength + 1}`,
    ],
    [
      "said to hold more than it can",
      async () => patched(patched(await deflated(), COMPRESSED_SIZE, 4, 300), UNCOMPRESSED_SIZE, 4, 300 * 1032 + 1),
      "300 bytes cannot hold the 309601 they should",
    ],
  ])("and is %s is refused when it is opened", async (_, make, message) => {
    await expect(open(await make())).rejects.toMatchObject(refusal(message));
  });

  it("and shares its bytes with another is refused when it is opened", async () => {
    const bytes = await zip(["a.npy", x, STORED], ["b.npy", x, STORED]);
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(recordOf(bytes, 1) + 42, 0, true);
    await expect(open(bytes)).rejects.toMatchObject({
      name: "FormatError",
      tensor: "b",
      message: expect.stringMatching(/^x\.npz: tensor "b": damaged \(.*\)$/),
    });
  });

  it("with two members of one name is refused when it is opened", async () => {
    const bytes = await zip(["a.npy", x, STORED], ["b.npy", x, STORED]);
    bytes[recordOf(bytes, 1) + 46] = "a".charCodeAt(0);
    await expect(open(bytes)).rejects.toMatchObject(refusal("is there twice"));
  });

  it("and has another checksum is refused at its end, each time", async () => {
    const [a] = await open(patched(await deflated(), CRC32, 4, 1));
    const { source, start, end } = a!;
    for (let pass = 0; pass < 2; pass++) {
      expectBytes(await source.slice(start, end - 1), values.subarray(0, -1));
      await expect(source.slice(end - 1, end)).rejects.toMatchObject(damaged);
    }
  });

  /** A deflated array of `n` zeros whose header says that there are `claimed`; so does the zip. */
  async function lying(n: number, claimed: number): Promise<Uint8Array> {
    const bytes = await deflated(bytesOf(encodeNpyHeader("|u1", [claimed]), new Uint8Array(n)));
    return patched(bytes, UNCOMPRESSED_SIZE, 4, 128 + claimed);
  }

  it.each([
    ["more", 100_000, 100_001],
    ["more, by far", 100_000, 102_000],
    ["less", 100_001, 100_000],
    ["less, by far", 1_000_000, 10],
  ])("and is said to hold %s than it does is refused when it is read", async (_, n, claimed) => {
    const bytes = await lying(n, claimed);
    const read = async () => dataOf((await open(bytes))[0]!);
    await expect(read()).rejects.toMatchObject(damaged);
  });

  it("and is in a file that shrinks is refused with the file's own error", async () => {
    const bytes = await deflated();
    let length = bytes.byteLength;
    const slice = (start: number, end: number) => truncatedSource(bytes, length).slice(start, end);
    const [a] = await openNpzMembers({ ...bytesSource(bytes, "x.npz"), slice });
    length = 50_000;
    await expect(dataOf(a!)).rejects.toMatchObject(refusal(/bytes \d+ to \d+ gave \d+ bytes, not \d+/));
    length = bytes.byteLength;
    expectBytes(await dataOf(a!), values);
  });

  it("cut short anywhere is a FormatError", async () => {
    const bytes = await zip(["a.npy", x, STORED], ["b.npy", x, DEFLATED]);
    for (let length = 0; length < bytes.byteLength; length++) {
      await expect(open(bytes.subarray(0, length)), `${length} bytes`).rejects.toMatchObject({ name: "FormatError" });
    }
  });

  it("with any byte changed is a FormatError or the same array", async () => {
    const bytes = await zip(["b.npy", x, DEFLATED]);
    for (let at = 0; at < bytes.byteLength; at++) {
      for (const flip of [1, 0x80, 0xff]) {
        const read = async () => {
          const [member] = await open(bytes.with(at, bytes[at]! ^ flip));
          return dataOf(member!);
        };
        const result = await read().catch((error: Error) => error);
        if (result instanceof Error) expect(result.name, `byte ${at}: ${result.stack}`).toBe("FormatError");
        else expect(result, `byte ${at}`).toEqual(x.subarray(-24));
      }
    }
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileError } from "../../src/errors.ts";
import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import { isShardIndex } from "../../src/formats/detect-file-type.ts";
import { encodeShardIndex, openShards, readShardIndex, shardIndexName, shardName } from "../../src/formats/shards.ts";
import { safetensorsFile } from "../helpers/checkpoints.ts";
import { bytesOf, truncatedSource } from "../helpers/sources.ts";

const NAME = "m/model.safetensors.index.json";

const read = (text: string | Uint8Array) => readShardIndex(bytesSource(bytesOf(text), NAME));

const one = shardName("model", 1, 2);
const two = shardName("model", 2, 2);

describe("names of shards", () => {
  it("are Hugging Face's", () => {
    expect(shardName("model", 1, 3)).toBe("model-00001-of-00003.safetensors");
    expect(shardName("x.int8", 100_000, 123_456)).toBe("x.int8-100000-of-123456.safetensors");
    expect(shardIndexName("model")).toBe("model.safetensors.index.json");
  });

  it.each([
    ["model.safetensors.index.json", true],
    ["a/b/diffusion_pytorch_model.safetensors.index.fp16.json", true],
    ["MODEL.SAFETENSORS.INDEX.JSON", true],
    ["model.safetensors", false],
    ["pytorch_model.bin.index.json", false],
    ["config.json", false],
  ])("tell an index: %s %j", (name, is) => {
    expect(isShardIndex(name)).toBe(is);
  });
});

describe("readShardIndex", () => {
  it("reads metadata of any kind, the map in its order, and the shards by name", async () => {
    const index = await read(
      `{"metadata":{"total_size":12,"x":[null,{"y":1.5}]},"weight_map":{"b":"${two}","a":"${one}","__proto__":"${two}"},"z":1}`,
    );
    expect(index.files).toEqual([one, two]);
    expect([...index.weightMap]).toEqual([
      ["b", two],
      ["a", one],
      ["__proto__", two],
    ]);
    expect(index.metadata).toEqual(
      new Map<string, unknown>([
        ["total_size", 12],
        ["x", [null, new Map([["y", 1.5]])]],
      ]),
    );
  });

  it("does without metadata", async () => {
    expect((await read(`{"weight_map":{"a":"x"}}`)).metadata.size).toBe(0);
  });

  const map = (entries: string) => `{"weight_map":${entries}}`;

  it.each<[what: string, text: string | Uint8Array, message: string, tensor?: string]>([
    ["of no bytes", "", "bad index: expected a value at character 0, found the end"],
    ["that is cut short", `{"weight_map":{"a":"x"`, 'bad index: expected "," or "}" at character 22, found the end'],
    ["that is not UTF-8", Uint8Array.of(0x7b, 0xff), "is not UTF-8"],
    ["with a byte order mark", "\ufeff{}", 'bad index: expected a value at character 0, found "\ufeff"'],
    ["of brackets", "[".repeat(1000), "bad index: nested more than 128 deep"],
    ["with a tensor twice", map('{"a":"x","a":"y"}'), 'bad index: key "a" is given twice'],
    ["with two maps", '{"weight_map":{},"weight_map":{}}', 'bad index: key "weight_map" is given twice'],
    ["that is a list", "[]", "must be an object with a weight_map, got []"],
    ["without a map", "{}", "weight_map must be an object of file names, got nothing"],
    ["with a list for a map", map('["x"]'), 'weight_map must be an object of file names, got ["x"]'],
    ["with metadata that is text", '{"metadata":"x"}', 'metadata must be an object, got "x"'],
    ["without tensors", map("{}"), "weight_map lists no tensors"],
    ["with a number for a shard", map('{"a":1}'), "its shard must be a file's name, got 1", "a"],
  ])("refuses an index %s", async (_, text, message, tensor) => {
    const prefix = tensor === undefined ? `${NAME}: ` : `${NAME}: tensor "${tensor}": `;
    await expect(read(text)).rejects.toMatchObject({
      name: "FormatError",
      file: NAME,
      tensor,
      message: prefix + message,
    });
  });

  it.each(["", ".", "..", "/etc/x", "../x", "a/b", "a\\b", "c:x", "a\0"])("refuses the shard %j", async (file) => {
    await expect(read(map(JSON.stringify({ a: file })))).rejects.toMatchObject({
      name: "FormatError",
      tensor: "a",
      message: `${NAME}: tensor "a": its shard ${JSON.stringify(file)} is not a file beside the index`,
    });
  });

  it("refuses more bytes than it would read, unread, and fewer than there were", async () => {
    const huge = { ...bytesSource(bytesOf(), NAME), byteLength: 100_000_001 };
    await expect(readShardIndex(huge)).rejects.toMatchObject({
      name: "FormatError",
      message: `${NAME}: 100000001 bytes are too many for an index; the limit is 100000000`,
    });
    await expect(readShardIndex(truncatedSource(bytesOf(map('{"a":"x"}')), 5))).rejects.toMatchObject({
      name: "FormatError",
      message: "bytes: bytes 0 to 24 gave 5 bytes, not 24",
    });
  });

  it("never fails in another way, whichever byte is wrong", async () => {
    const bytes = bytesOf(`{"metadata":{"total_size":1e1},"weight_map":{"\\u0061":"${one}","b":"${two}"}}`);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.byteLength - 1), fc.nat(255), async (where, byte) => {
        const error = await read(bytes.with(where, byte)).catch((reason: Error) => reason);
        if (error instanceof Error) expect(error.name).toBe("FormatError");
        else expect(error.weightMap.size).toBe(2);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("openShards", async () => {
  const tensor = (name: string) => ({ name, dtype: "U8", shape: [2], data: Uint8Array.of(1, 2) }) as const;

  /** A folder of shards, each given by what is in it, and the index of `weightMap` beside them. */
  async function folder(shards: Record<string, readonly string[] | Uint8Array>, weightMap: Record<string, string>) {
    const closed: string[] = [];
    const files = new Map<string, Uint8Array>();
    for (const [name, content] of Object.entries(shards)) {
      files.set(name, content instanceof Uint8Array ? content : await safetensorsFile(content.map(tensor), { name }));
    }
    const source: ByteSource = {
      ...bytesSource(encodeShardIndex(new Map(), 0, new Map(Object.entries(weightMap))), NAME),
      async sibling(path) {
        const bytes = files.get(path);
        if (!bytes) throw new FileError(`m/${path}`, "no such file or folder");
        const close = async () => {
          closed.push(path);
        };
        return { ...bytesSource(bytes, `m/${path}`), close };
      },
    };
    return { source, closed, open: async () => openShards(source, await readShardIndex(source)) };
  }

  it("opens every shard once, in the order of their names", async () => {
    const { open, closed } = await folder({ [two]: ["c"], [one]: ["b", "a"] }, { a: one, b: one, c: two });
    const { shards, close } = await open();
    expect(shards.map(({ file, source, metadata, tensors }) => [file, source.name, metadata, tensors.length])).toEqual([
      [one, `m/${one}`, { name: one }, 2],
      [two, `m/${two}`, { name: two }, 1],
    ]);
    const { source, tensors } = shards[0]!;
    expect(await source.slice(tensors[1]!.start, tensors[1]!.end)).toEqual(Uint8Array.of(1, 2));
    expect(closed).toEqual([]);
    await close();
    await close();
    expect(closed.sort()).toEqual([one, two]);
  });

  it("takes along what the index does not list", async () => {
    const { open } = await folder({ [one]: ["a", "b"] }, { a: one });
    expect((await open()).shards[0]!.tensors.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  it.each<[what: string, Parameters<typeof folder>, tensor: string | undefined, message: string]>([
    [
      "a shard that is missing",
      [{ [one]: ["a"] }, { a: one, c: two, b: two }],
      "b", // the first of those in it that the index lists, sorted as it is
      `${NAME}: tensor "b": its shard "${two}" cannot be had: m/${two}: no such file or folder`,
    ],
    [
      "a tensor that is nowhere",
      [{ [one]: ["a"] }, { a: one, b: one }],
      "b",
      `${NAME}: tensor "b": the index has it in "${one}", but no shard holds it`,
    ],
    [
      "a tensor that is elsewhere",
      [
        { [one]: ["a"], [two]: ["b", "c"] },
        { a: one, b: one, c: two },
      ],
      "b",
      `${NAME}: tensor "b": the index has it in "${one}", but it is in "${two}"`,
    ],
    [
      "a tensor in two shards",
      [
        { [one]: ["a"], [two]: ["b", "a"] },
        { a: one, b: two },
      ],
      "a",
      `${NAME}: tensor "a": is in two shards, "${one}" and "${two}"`,
    ],
    [
      "a shard that is a web page",
      [
        { [one]: ["a"], [two]: bytesOf("<html>not it") },
        { a: one, b: two },
      ],
      undefined,
      `m/${two}: is a web page or other markup; what was downloaded is not the file`,
    ],
    [
      "a shard that was not fetched",
      [{ [one]: bytesOf("version https://git-lfs.github.com/spec/v1\n") }, { a: one }],
      undefined,
      `m/${one}: is a Git LFS pointer, not the file itself; run git lfs pull`,
    ],
    [
      "a shard in another format",
      [{ x: bytesOf([0x93], "NUMPY") }, { a: "x" }],
      undefined,
      "m/x: is no safetensors file but npy",
    ],
    [
      "a shard that is cut short",
      [{ [one]: (await safetensorsFile([tensor("a")])).subarray(0, -1) }, { a: one }],
      "a",
      `m/${one}: tensor "a": data_offsets [0,2] reach past the file's 1 bytes of data`,
    ],
  ])("refuses %s, and leaves nothing open", async (_, files, tensor, message) => {
    const { open, closed } = await folder(...files);
    await expect(open()).rejects.toMatchObject({ name: "FormatError", tensor, message });
    expect(closed.sort()).toEqual(Object.keys(files[0]).sort());
  });

  it("says what is missing where only the index was given", async () => {
    const { sibling: _, ...source } = bytesSource(bytesOf(`{"weight_map":{"a":"${one}"}}`), NAME);
    await expect(openShards(source, await readShardIndex(source))).rejects.toMatchObject({
      name: "FormatError",
      message: `${NAME}: tensor "a": is in the shard "${one}", and only the index was given`,
    });
  });
});

describe("encodeShardIndex", () => {
  it("gives the bytes that Python's json.dumps gives Hugging Face", () => {
    const metadata = new Map([
      ["total_size", 1],
      ["b", [] as never],
      ["a", new Map() as never],
      ["c", [1, 2.5, null, true, new Map([["x", 'é\u007f\u2028😀\n"\\/']])] as never],
    ]);
    const weights = new Map([
      ["\uffff", "2"],
      ["😀", "1"],
      ["w.10", "1"],
      ["w.1", "1"],
      ["w", "2"],
    ]);
    // json.dumps(index, indent=2, sort_keys=True) + "\n", Python 3.11
    expect(new TextDecoder().decode(encodeShardIndex(metadata, 26031728640, weights))).toBe(`{
  "metadata": {
    "a": {},
    "b": [],
    "c": [
      1,
      2.5,
      null,
      true,
      {
        "x": "\\u00e9\\u007f\\u2028\\ud83d\\ude00\\n\\"\\\\/"
      }
    ],
    "total_size": 26031728640
  },
  "weight_map": {
    "w": "2",
    "w.1": "1",
    "w.10": "1",
    "\\uffff": "2",
    "\\ud83d\\ude00": "1"
  }
}
`);
  });

  it("gives what the reader reads back", async () => {
    const names = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("__proto__", "层.重み", 'a"b\\c\n'));
    const files = fc.nat(3).map((i) => shardName("model", i, 3));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(names, files), { minLength: 1, selector: ([name]) => name }),
        async (entries) => {
          const index = await read(encodeShardIndex(new Map([["x", "y"]]), 5, new Map(entries)));
          expect(new Map(index.weightMap)).toEqual(new Map(entries));
          expect([...index.metadata]).toEqual([
            ["total_size", 5],
            ["x", "y"],
          ]);
          expect(index.files).toEqual([...new Set(entries.map(([, file]) => file))].sort());
        },
      ),
    );
  });
});

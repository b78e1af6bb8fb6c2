import { writeFile } from "node:fs/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { bytesSink, bytesSource, createEngine, quantizeModel } from "../../src/index.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { runnerIn } from "../helpers/command.ts";
import { freshFolder } from "../helpers/folder.ts";
import { bytesOf } from "../helpers/sources.ts";

// Files that lie, through the command. What every other lie is told of is in test/formats.

const folder = freshFolder();
const run = runnerIn(() => folder.path);

/** A safetensors file of a header as given, and so many bytes of zeros. */
function withHeader(header: string | Uint8Array, dataBytes = 0, length?: bigint): Uint8Array {
  const text = Buffer.from(header);
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, length ?? BigInt(text.byteLength), true);
  return Buffer.concat([prefix, text, new Uint8Array(dataBytes)]);
}

const entry = (dtype: string, shape: string, begin: number | string, end: number | string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;

const good = entry("F32", "[4,64]", 0, 1024);

function npy(dict: string, dataBytes: number, version = 1): Uint8Array {
  const text = bytesOf(`${dict}\n`);
  return bytesOf(
    [0x93],
    "NUMPY",
    [version, 0, text.byteLength & 255, text.byteLength >> 8],
    text,
    new Uint8Array(dataBytes),
  );
}

const dict = (descr: string, shape: string, order = "False") =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }`;

const files: Readonly<Record<string, readonly [content: () => Uint8Array, message: string]>> = {
  // offsets
  "overlap.safetensors": [
    () => withHeader(`{"a":${good},"b.weight":${entry("F32", "[4,64]", 512, 1536)}}`, 1536),
    'tensor "b.weight": overlaps the tensor before it',
  ],
  "hole.safetensors": [
    () => withHeader(`{"a":${good},"b.weight":${entry("F32", "[4,64]", 1028, 2052)}}`, 2052),
    'tensor "b.weight": leaves a hole before it',
  ],
  "outside.safetensors": [
    () => withHeader(`{"w":${entry("F32", "[4,64]", 1024, 2048)}}`, 1024),
    `tensor "w": data_offsets [1024,2048] reach past the file's 1024 bytes of data`,
  ],
  "backwards.safetensors": [
    () => withHeader(`{"w":${entry("F32", "[4,64]", 1024, 0)}}`, 1024),
    'tensor "w": data_offsets [1024,0] end before they begin',
  ],
  "negative.safetensors": [
    () => withHeader(`{"w":${entry("F32", "[4,64]", -1024, 0)}}`, 1024),
    'tensor "w": data_offsets must be two integers',
  ],
  "far.safetensors": [
    () => withHeader(`{"w":${entry("F32", "[4,64]", 0, "18446744073709551616")}}`, 1024),
    'tensor "w": data_offsets must be two integers',
  ],
  "longer.safetensors": [
    () => withHeader(`{"w":${good}}`, 1025),
    "the last tensor ends at 1024, but the file has 1025",
  ],
  "shorter.safetensors": [() => withHeader(`{"w":${good}}`, 1023), "reach past the file's 1023 bytes of data"],
  // sizes
  "overflow.safetensors": [
    () => withHeader(`{"w":${entry("F32", "[4294967296,4294967296]", 0, 1024)}}`, 1024),
    'tensor "w": F32 [4294967296,4294967296] takes more than 2^53 - 1 bits',
  ],
  "wrapped.safetensors": [
    () => withHeader(`{"w":${entry("F32", "[4611686018427387904,4]", 0, 0)}}`),
    'tensor "w": shape must be an array of integers from 0 to 2^53 - 1',
  ],
  "larger.safetensors": [
    () => withHeader(`{"w":${entry("F32", "[4,65]", 0, 1024)}}`, 1024),
    'tensor "w": data_offsets [0,1024] hold 1024 bytes; F32 [4,65] takes 1040',
  ],
  "dtype.safetensors": [
    () => withHeader(`{"w":${entry("F33", "[4,64]", 0, 1024)}}`, 1024),
    'tensor "w": dtype "F33" is not one of',
  ],
  // headers
  "twice.safetensors": [
    () => withHeader(`{"w":${good},"w":${good}}`, 1024),
    'tensor "w": bad header: key "w" is given twice',
  ],
  "length.safetensors": [
    () => withHeader("{}", 0, 2n ** 63n),
    "header length 9223372036854775808 is over the format's limit",
  ],
  "short.safetensors": [() => withHeader("{}", 0, 99n), "header length 99 is over the 2 bytes that follow it"],
  "huge.safetensors": [
    () => withHeader(`{"w":[${"1,".repeat(49_999_990)}1]}`),
    'tensor "w": bad header: holds too many values',
  ],
  "text.safetensors": [() => withHeader(bytesOf([0x7b, 0xff, 0x7d])), "header is not UTF-8"],
  "metadata.safetensors": [
    () => withHeader(`{"__metadata__":{"a":1},"w":${good}}`, 1024),
    "__metadata__ must be a map of strings",
  ],
  // arrays
  "fortran.npy": [() => npy(dict("'<f4'", "(4, 64)", "True"), 1024), "Fortran order; save np.ascontiguousarray(a)"],
  "big.npy": [() => npy(dict("'>f4'", "(4, 64)"), 1024), "big-endian numbers; save a.astype('<f4')"],
  "objects.npy": [() => npy(dict("'|O'", "(4, 64)"), 1024), "is Python objects (a pickle)"],
  "fields.npy": [() => npy(dict("[('a', '<f4')]", "(4, 64)"), 1024), "structured array"],
  "cut.npy": [() => npy(dict("'<f4'", "(4, 64)"), 1000), "1000 bytes of data; '<f4' [4,64] takes 1024"],
  "version.npy": [() => npy(dict("'<f4'", "(4, 64)"), 1024, 9), "version 9.0 is not one of"],
};

describe.each(Object.keys(files))("%s", (name) => {
  it.each([[[]], [["--threads", "2"]]])("is refused in one line, nothing is written %j", async (threads) => {
    const [content, message] = files[name]!;
    await writeFile(folder.at(name), content());
    const { code, stdout, stderr } = await run(name, "-o", "out.safetensors", ...threads);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^wasm-quant: [^\n]{1,1000}\n$/);
    expect(stderr).toContain(`wasm-quant: ${name}: `);
    expect(stderr).toContain(message);
    expect(await folder.names()).toEqual([name]);
  });
});

describe("what is to be restored, and was tampered with", () => {
  let quantized: Uint8Array;
  beforeAll(async () => {
    const sink = bytesSink();
    await quantizeModel(await createEngine(), bytesSource(await safetensorsFile([f32("w", [4, 64])])), sink);
    quantized = sink.result();
  });

  /** The file with `to` in place of `from`, as many characters, in its header. */
  const edited = (from: string, to: string) => {
    const text = Buffer.from(quantized).toString("latin1");
    expect(text).toContain(from);
    expect(to).toHaveLength(from.length);
    return Buffer.from(text.replace(from, to), "latin1");
  };

  it.each([
    ['\\"version\\":1', '\\"version\\":9', "metadata wasm_quant: version 9; this release reads 1"],
    ['\\"shape\\":[4,64]', '\\"shape\\":[64,4]', '"w" is I8 [4, 64]; its entry wants I8 [64, 4]'],
    ['"w.scale"', '"w.scalf"', '"w.scale" is missing'],
    ['\\"dtype\\":\\"int8\\"', '\\"dtype\\":\\"int9\\"', 'tensor "w": metadata wasm_quant: dtype "int9"'],
    ['"wasm_quant"', '"wasm_quamt"', "was not quantized by wasm-quant"],
  ])("%s as %s is refused in one line, nothing is written", async (from, to, message) => {
    await writeFile(folder.at("bad.safetensors"), edited(from, to));
    const { code, stdout, stderr } = await run("dequantize", "bad.safetensors", "--threads", "2");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^wasm-quant: bad\.safetensors: [^\n]*\n$/);
    expect(stderr).toContain(message);
    expect(await folder.names()).toEqual(["bad.safetensors"]);
  });
});

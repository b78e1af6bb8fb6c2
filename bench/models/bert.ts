/**
 * Writes an ONNX file of the make of BERT-base, 345 MB: `npx tsx bench/models/bert.ts out.onnx [--external]`. Its twelve
 * layers have all their 85 million weights, its vocabulary only 1,024 of 30,522 words (`--vocabulary 30522`: 436 MB).
 * Weights are seeded noise, so it knows nothing; but it runs, and quantizing it is the work that the real one is.
 */
import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { randomOf } from "../../test/helpers/random.ts";

const HIDDEN = 768;
const INNER = 3072;
const HEADS = 12;
const POSITIONS = 512;

/** A file that holds more than this is none to protobuf. */
const LARGEST_MODEL = 2 ** 31 - 1;

/** How much is made, and written, at a time. */
const CHUNK = 2 ** 20;

/** Where tensors of an external file begin, so that it can be mapped into memory; smaller ones stay in the model. */
const PAGE = 4096;

export interface BertOptions {
  /** 12 if not said. */
  readonly layers?: number | undefined;
  /** 1,024 if not said. */
  readonly vocabulary?: number | undefined;
  /** Weights go to a file of their own, `<path>.data`. */
  readonly external?: boolean | undefined;
}

/** Normal noise about `mean`; some columns of a matrix reach much farther than the rest, as trained ones do. */
interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly mean: number;
}

interface Graph {
  /** Nodes, constants, inputs and outputs as fields of GraphProto. */
  readonly fields: Uint8Array[];
  readonly weights: Weight[];
}

const float = 1;
const int64 = 7;

/** Writes the model; the bytes of its files together. */
export async function writeBert(path: string, options: BertOptions = {}): Promise<number> {
  const { fields, weights } = bertOf(options);
  const data = options.external ? `${path}.data` : undefined;
  const starts = startsOf(weights);
  const heads = weights.map((weight, i) => weightHead(weight, data && basename(data), starts[i]!));
  const inline = data === undefined ? weights : weights.filter((weight) => !isLarge(weight));
  const length = sum([...fields, ...heads].map(({ byteLength }) => byteLength)) + sum(inline.map(bytesIn));

  const total = await writing(path, async (file) => {
    await file.write(modelHead(length));
    for (const field of fields) await file.write(field);
    for (const [i, weight] of weights.entries()) {
      await file.write(heads[i]!);
      if (inline.includes(weight)) await writeNoise(file, weight, i);
    }
  });
  if (data === undefined) return total;
  const beside = await writing(data, async (file) => {
    for (const [i, weight] of weights.entries()) {
      if (isLarge(weight)) await writeNoise(file, weight, i, starts[i]);
    }
  });
  return total + beside;
}

async function writing(path: string, write: (file: FileHandle) => Promise<void>): Promise<number> {
  const file = await open(path, "w");
  try {
    await write(file);
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

/** Where each weight lies in the external file. */
function startsOf(weights: readonly Weight[]): number[] {
  let end = 0;
  return weights.map((weight) => {
    const start = end;
    if (isLarge(weight)) end += Math.ceil(bytesIn(weight) / PAGE) * PAGE;
    return start;
  });
}

function isLarge(weight: Weight): boolean {
  return bytesIn(weight) >= PAGE;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

function bytesIn({ shape }: Weight): number {
  return 4 * shape.reduce((a, b) => a * b, 1);
}

/** The values of one weight, the same for the same `index` wherever they go. */
async function writeNoise(file: FileHandle, weight: Weight, index: number, start?: number): Promise<void> {
  const random = randomOf(index + 1);
  const size = bytesIn(weight) / 4;
  const columns = weight.shape.at(-1)!;
  const values = new Float32Array(Math.min(size, CHUNK));
  for (let at = 0; at < size; at += values.length) {
    const chunk = values.subarray(0, Math.min(values.length, size - at));
    fill(chunk, random, weight.mean);
    if (weight.shape.length === 2) {
      for (let i = 0; i < chunk.length; i++) if (((at + i) % columns) % 256 === 17) chunk[i]! *= 8;
    }
    const bytes = new Uint8Array(chunk.buffer, 0, chunk.byteLength);
    await file.write(bytes, 0, bytes.length, start === undefined ? null : start + 4 * at);
  }
}

/** Box and Muller's two at a time; all weights are even in number. */
function fill(values: Float32Array, random: () => number, mean: number): void {
  for (let i = 0; i < values.length; i += 2) {
    const radius = 0.02 * Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    values[i] = mean + radius * Math.cos(angle);
    values[i + 1] = mean + radius * Math.sin(angle);
  }
}

// The graph.

function bertOf({ layers = 12, vocabulary = 1024 }: BertOptions): Graph {
  const fields: Uint8Array[] = [stringField(2, "bert")];
  const weights: Weight[] = [];

  const weight = (name: string, shape: readonly number[], mean = 0) => {
    weights.push({ name, shape, mean });
    return name;
  };
  const constant = (name: string, type: number, shape: readonly number[], values: readonly number[]) => {
    const data = type === float ? Float32Array.from(values) : BigInt64Array.from(values, BigInt);
    fields.push(messageField(5, tensorFields(name, type, shape).raw(bytesField(9, new Uint8Array(data.buffer)))));
    return name;
  };
  /** Adds a node; the name of what it gives. */
  const node = (op: string, name: string, inputs: readonly string[], attributes: Attributes = {}) => {
    const output = `${name}/${op}_output_0`;
    fields.push(nodeField(op, `${name}/${op}`, inputs, output, attributes));
    return output;
  };
  const dense = (name: string, x: string, from: number, to: number) => {
    const product = node("MatMul", name, [x, weight(`${name}.weight`, [from, to])]);
    return node("Add", name, [weight(`${name}.bias`, [to]), product]);
  };
  const norm = (name: string, x: string) => {
    const inputs = [x, weight(`${name}.weight`, [HIDDEN], 1), weight(`${name}.bias`, [HIDDEN])];
    return node("LayerNormalization", name, inputs, { axis: -1 });
  };

  const one = constant("one", float, [], [1]);
  const [zeroth, first, second] = [0, 1, 2].map((i) => constant(`index_${i}`, int64, [1], [i])) as [
    string,
    ...string[],
  ];
  const apart = constant("heads_apart", int64, [4], [0, 0, HEADS, HIDDEN / HEADS]);
  const together = constant("heads_together", int64, [3], [0, 0, HIDDEN]);
  const middle = constant("heads_and_rows", int64, [2], [1, 2]);
  const [lowest, scale] = [constant("lowest", float, [], [-10000]), constant("scale", float, [], [8])];
  const [root, half] = [constant("root_of_2", float, [], [Math.SQRT2]), constant("half", float, [], [0.5])];
  const numbers = Array.from({ length: POSITIONS }, (_, i) => i);
  const positions = constant("position_ids", int64, [1, POSITIONS], numbers);

  const embedded = () => {
    const length = node("Slice", "length", [node("Shape", "length", ["input_ids"]), first!, second!]);
    const places = node("Slice", "positions", [positions, zeroth, length, first!]);
    const look = (name: string, rows: number, ids: string) =>
      node("Gather", name, [weight(`embeddings.${name}.weight`, [rows, HIDDEN]), ids]);
    const words = look("word_embeddings", vocabulary, "input_ids");
    const typed = node("Add", "embeddings/types", [words, look("token_type_embeddings", 2, "token_type_ids")]);
    const placed = node("Add", "embeddings", [typed, look("position_embeddings", POSITIONS, places)]);
    return norm("embeddings.LayerNorm", placed);
  };
  /** 0 where a token counts, far below where it does not. */
  const maskOf = () => {
    const asFloat = node("Cast", "mask", [node("Unsqueeze", "mask", ["attention_mask", middle])], { to: float });
    return node("Mul", "mask", [node("Sub", "mask", [one, asFloat]), lowest]);
  };
  const attention = (name: string, x: string, mask: string) => {
    const headsOf = (part: string, perm: readonly number[]) => {
      const projected = dense(`${name}.self.${part}`, x, HIDDEN, HIDDEN);
      const split = node("Reshape", `${name}.self.${part}`, [projected, apart]);
      return node("Transpose", `${name}.self.${part}`, [split], { perm });
    };
    const [query, key] = [headsOf("query", [0, 2, 1, 3]), headsOf("key", [0, 2, 3, 1])];
    const scores = node("Div", `${name}/scores`, [node("MatMul", `${name}/scores`, [query, key]), scale]);
    const shares = node("Softmax", name, [node("Add", `${name}/masked`, [scores, mask])], { axis: -1 });
    const mixed = node("MatMul", `${name}/mixed`, [shares, headsOf("value", [0, 2, 1, 3])]);
    const rows = node("Transpose", `${name}/mixed`, [mixed], { perm: [0, 2, 1, 3] });
    const joined = node("Reshape", `${name}/mixed`, [rows, together]);
    return dense(`${name}.output.dense`, joined, HIDDEN, HIDDEN);
  };
  const gelu = (name: string, x: string) => {
    const erf = node("Erf", name, [node("Div", name, [x, root])]);
    return node("Mul", `${name}/half`, [node("Mul", name, [x, node("Add", name, [erf, one])]), half]);
  };
  const layer = (name: string, x: string, mask: string) => {
    const attended = node("Add", `${name}/attended`, [attention(`${name}.attention`, x, mask), x]);
    const y = norm(`${name}.attention.output.LayerNorm`, attended);
    const inner = gelu(`${name}/gelu`, dense(`${name}.intermediate.dense`, y, HIDDEN, INNER));
    const outer = dense(`${name}.output.dense`, inner, INNER, HIDDEN);
    return norm(`${name}.output.LayerNorm`, node("Add", `${name}/out`, [outer, y]));
  };

  let x = embedded();
  const mask = maskOf();
  for (let i = 0; i < layers; i++) x = layer(`encoder.layer.${i}`, x, mask);
  fields.push(nodeField("Identity", "last", [x], "last_hidden_state", {}));
  for (const name of ["input_ids", "attention_mask", "token_type_ids"]) {
    fields.push(valueField(11, name, int64, ["batch", "sequence"]));
  }
  fields.push(valueField(12, "last_hidden_state", float, ["batch", "sequence", HIDDEN]));
  return { fields, weights };
}

// Its bytes. The numbers of fields are those of onnx.proto.

type Attributes = Readonly<Record<string, number | readonly number[]>>;

/** All before the fields of the graph, which are `length` bytes long. */
function modelHead(length: number): Uint8Array {
  if (length > LARGEST_MODEL) throw new Error("more than a file can hold; give --external");
  const opset = new BinaryWriter().tag(2, WireType.Varint).int64(17);
  const version = new BinaryWriter().tag(1, WireType.Varint).int64(8).raw(stringField(2, "wasm-quant bench"));
  const head = version.raw(messageField(8, opset)).tag(7, WireType.LengthDelimited);
  return head.uint32(length).finish();
}

/** All before the values of a weight, which follow unless they are in the file `data`. */
function weightHead(weight: Weight, data: string | undefined, start: number): Uint8Array {
  const tensor = tensorFields(weight.name, float, weight.shape);
  const bytes = bytesIn(weight);
  if (data === undefined || !isLarge(weight)) {
    const fields = tensor.tag(9, WireType.LengthDelimited).uint32(bytes).finish();
    return new BinaryWriter()
      .tag(5, WireType.LengthDelimited)
      .uint32(fields.length + bytes)
      .raw(fields)
      .finish();
  }
  for (const [key, value] of Object.entries({ location: data, offset: start, length: bytes })) {
    tensor.raw(messageField(13, new BinaryWriter().raw(stringField(1, key)).raw(stringField(2, `${value}`))));
  }
  return messageField(5, tensor.tag(14, WireType.Varint).int32(1));
}

function tensorFields(name: string, type: number, shape: readonly number[]): BinaryWriter {
  const writer = new BinaryWriter();
  for (const dimension of shape) writer.tag(1, WireType.Varint).int64(dimension);
  return writer.tag(2, WireType.Varint).int32(type).raw(stringField(8, name));
}

function nodeField(op: string, name: string, inputs: readonly string[], output: string, attributes: Attributes) {
  const writer = new BinaryWriter();
  for (const input of inputs) writer.raw(stringField(1, input));
  writer.raw(stringField(2, output)).raw(stringField(3, name)).raw(stringField(4, op));
  for (const [key, value] of Object.entries(attributes)) {
    const attribute = new BinaryWriter().raw(stringField(1, key));
    if (typeof value === "number") attribute.tag(3, WireType.Varint).int64(value).tag(20, WireType.Varint).int32(2);
    else {
      for (const each of value) attribute.tag(8, WireType.Varint).int64(each);
      attribute.tag(20, WireType.Varint).int32(7);
    }
    writer.raw(messageField(5, attribute));
  }
  return messageField(1, writer);
}

function valueField(field: number, name: string, type: number, shape: readonly (string | number)[]): Uint8Array {
  const dimensions = new BinaryWriter();
  for (const size of shape) {
    const dimension = new BinaryWriter();
    if (typeof size === "string") dimension.raw(stringField(2, size));
    else dimension.tag(1, WireType.Varint).int64(size);
    dimensions.raw(messageField(1, dimension));
  }
  const tensor = new BinaryWriter().tag(1, WireType.Varint).int32(type).raw(messageField(2, dimensions));
  const typed = new BinaryWriter().raw(messageField(1, tensor));
  return messageField(field, new BinaryWriter().raw(stringField(1, name)).raw(messageField(2, typed)));
}

function messageField(field: number, message: BinaryWriter): Uint8Array {
  return bytesField(field, message.finish());
}

function stringField(field: number, value: string): Uint8Array {
  return bytesField(field, new TextEncoder().encode(value));
}

function bytesField(field: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(bytes).finish();
}

/** The command; the benchmark imports this file. */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { external: { type: "boolean" }, layers: { type: "string" }, vocabulary: { type: "string" } },
    allowPositionals: true,
  });
  const [path] = positionals;
  if (!path) throw new Error("npx tsx bench/models/bert.ts OUT.onnx [--external] [--layers N] [--vocabulary N]");
  const { external, layers = "12", vocabulary = "1024" } = values;
  const bytes = await writeBert(path, { external, layers: Number(layers), vocabulary: Number(vocabulary) });
  console.log(`${path}: ${(bytes / 1e6).toFixed(1)} MB in ${(performance.now() / 1000).toFixed(1)} s`);
}

if (import.meta.filename === process.argv[1]) await main();

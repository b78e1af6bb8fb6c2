import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import { readModel } from "../../src/onnx/io/decode.ts";
import { encodeModel } from "../../src/onnx/io/encode.ts";
import { TensorFiles } from "../../src/onnx/io/tensor-data.ts";
import type { Model } from "../../src/onnx/ir/graph.ts";
import { type RaiseReport, raiseOpset } from "../../src/onnx/passes/opset/raise-opset.ts";
import { codeOf, type ElementType } from "../../src/onnx/proto/schema.ts";
import { Pending, type Segment } from "../../src/onnx/proto/wire-format.ts";
import { halvesWidened } from "./onnx-values.ts";

// Models of any opset, with attributes and graphs of every kind, and what happens to them when they are raised.

export interface TensorSpec {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export type AttributeSpec =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly tensor: TensorSpec }
  | { readonly graph: GraphSpec };

export interface NodeSpec {
  readonly op: string;
  readonly name: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeSpec>>;
}

/** A type, and a shape where there is one: `float32`, `float32[2,n]`, `int64[]`. */
export type ValueSpec = string;

export interface GraphSpec {
  readonly nodes: readonly NodeSpec[];
  readonly initializers?: Readonly<Record<string, TensorSpec>>;
  readonly inputs?: Readonly<Record<string, ValueSpec>>;
  readonly outputs: Readonly<Record<string, ValueSpec>>;
  readonly values?: Readonly<Record<string, ValueSpec>>;
}

export interface ModelSpec extends GraphSpec {
  readonly opset: number;
  readonly ir?: number;
  readonly domains?: Readonly<Record<string, number>>;
  /** Functions of the model: the opsets each imports. */
  readonly functions?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** `node("Add", "a b", "c", { axis: 1 })`; "-" is an input or output left out. */
export function node(
  op: string,
  inputs: string,
  outputs: string,
  attributes: NodeSpec["attributes"] = {},
  { name = `${op}_of_${outputs.split(" ")[0]}`, domain = "" } = {},
): NodeSpec {
  const list = (names: string) => (names === "" ? [] : names.split(" ").map((each) => (each === "-" ? "" : each)));
  return { op, name, domain, inputs: list(inputs), outputs: list(outputs), attributes };
}

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
} as const;

export function tensor(type: ElementType, shape: readonly number[], values: readonly number[]): TensorSpec {
  const array =
    type === "int64" ? BigInt64Array.from(values, BigInt) : arrays[type as keyof typeof arrays].from(values);
  return { type, shape, bytes: new Uint8Array(array.buffer) };
}

export function writeSpec(spec: ModelSpec): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(spec.ir ?? 8);
  for (const [domain, version] of Object.entries({ "": spec.opset, ...spec.domains })) {
    message(writer, 8, () => writeOpset(writer, domain, version));
  }
  message(writer, 7, () => writeGraph(writer, spec));
  for (const [name, opsets] of Object.entries(spec.functions ?? {})) {
    message(writer, 25, () => {
      text(writer, 1, name);
      for (const [domain, version] of Object.entries(opsets))
        message(writer, 9, () => writeOpset(writer, domain, version));
      text(writer, 10, "local");
    });
  }
  return writer.finish();
}

function writeOpset(writer: BinaryWriter, domain: string, version: number): void {
  if (domain !== "") text(writer, 1, domain);
  writer.tag(2, WireType.Varint).int64(version);
}

function writeGraph(writer: BinaryWriter, { nodes, initializers, inputs, outputs, values }: GraphSpec): void {
  for (const each of nodes) message(writer, 1, () => writeNode(writer, each));
  text(writer, 2, "graph");
  for (const [name, each] of Object.entries(initializers ?? {}))
    message(writer, 5, () => writeTensor(writer, each, name));
  const lists = [
    [11, inputs],
    [12, outputs],
    [13, values],
  ] as const;
  for (const [field, list] of lists) {
    for (const [name, each] of Object.entries(list ?? {})) message(writer, field, () => writeValue(writer, name, each));
  }
}

function writeNode(writer: BinaryWriter, { op, name, domain, inputs, outputs, attributes }: NodeSpec): void {
  for (const input of inputs) text(writer, 1, input);
  for (const output of outputs) text(writer, 2, output);
  if (name !== "") text(writer, 3, name);
  text(writer, 4, op);
  for (const [key, value] of Object.entries(attributes)) {
    message(writer, 5, () => {
      text(writer, 1, key);
      const type = writeAttribute(writer, value);
      writer.tag(20, WireType.Varint).int32(type);
    });
  }
  if (domain !== "") text(writer, 7, domain);
}

/** The number of the attribute's type. */
function writeAttribute(writer: BinaryWriter, value: AttributeSpec): number {
  if (typeof value === "number") {
    writer.tag(3, WireType.Varint).int64(value);
    return 2;
  }
  if (typeof value === "string") {
    text(writer, 4, value);
    return 3;
  }
  if ("float" in value) {
    writer.tag(2, WireType.Bit32).float(value.float);
    return 1;
  }
  if ("floats" in value) {
    for (const each of value.floats) writer.tag(7, WireType.Bit32).float(each);
    return 6;
  }
  if ("tensor" in value) {
    message(writer, 5, () => writeTensor(writer, value.tensor, ""));
    return 4;
  }
  if ("graph" in value) {
    message(writer, 6, () => writeGraph(writer, value.graph));
    return 5;
  }
  for (const each of value) writer.tag(8, WireType.Varint).int64(each);
  return 7;
}

function writeTensor(writer: BinaryWriter, { type, shape, bytes }: TensorSpec, name: string): void {
  for (const dimension of shape) writer.tag(1, WireType.Varint).int64(dimension);
  writer.tag(2, WireType.Varint).int32(codeOf(type));
  text(writer, 8, name);
  writer.tag(9, WireType.LengthDelimited).bytes(bytes);
}

function writeValue(writer: BinaryWriter, name: string, spec: ValueSpec): void {
  const { type, dims } = parsed(spec);
  text(writer, 1, name);
  message(writer, 2, () =>
    message(writer, 1, () => {
      writer.tag(1, WireType.Varint).int32(codeOf(type));
      if (!dims) return;
      message(writer, 2, () => {
        for (const dimension of dims) {
          message(writer, 1, () => {
            if (/^\d+$/.test(dimension)) writer.tag(1, WireType.Varint).int64(Number(dimension));
            else text(writer, 2, dimension);
          });
        }
      });
    }),
  );
}

function parsed(spec: ValueSpec): { readonly type: ElementType; readonly dims: readonly string[] | undefined } {
  const [, type, list] = /^(\w+)(?:\[(.*)\])?$/.exec(spec)!;
  return { type: type as ElementType, dims: list === undefined ? undefined : list.split(",").filter(Boolean) };
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function message(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}

/** Whatever was made, as one. */
export async function bytesOfChunks(chunks: readonly Segment[]): Promise<Uint8Array> {
  const parts = await Promise.all(
    chunks.map((chunk) => {
      if (chunk instanceof Pending) throw new Error("nothing is pending after raising");
      return chunk instanceof Uint8Array ? chunk : chunk.index.source.slice(chunk.start, chunk.end);
    }),
  );
  return Uint8Array.from(Buffer.concat(parts));
}

export interface Raised {
  readonly bytes: Uint8Array;
  readonly report: RaiseReport;
  /** Read from `bytes`. */
  readonly model: Model;
}

/** A model raised, written and read back. */
export async function raised(from: ModelSpec | Uint8Array, target: number, name = "model.onnx"): Promise<Raised> {
  const bytes = from instanceof Uint8Array ? from : writeSpec(from);
  const source: ByteSource = { ...bytesSource(bytes), name };
  const model = await readModel(source);
  const files = await TensorFiles.open(source, model);
  const report = await raiseOpset(model, files, target, name);
  const written = await bytesOfChunks(encodeModel(model));
  return { bytes: written, report, model: await readModel({ ...bytesSource(written), name }) };
}

export type FeedSpec = Readonly<Record<string, Tensor>>;
export type Results = Readonly<Record<string, { type: string; dims: readonly number[]; bytes: Uint8Array }>>;

export function feed(
  type: "float32" | "float64" | "int64" | "int32" | "bool",
  dims: readonly number[],
  values: readonly number[],
): Tensor {
  if (type === "int64") return new Tensor(type, BigInt64Array.from(values, BigInt), dims);
  return new Tensor(type, arrays[type].from(values) as Float32Array, dims);
}

/** As the file has it: no optimization replaces or folds a node. */
export async function runModel(bytes: Uint8Array, feeds: FeedSpec): Promise<Results> {
  const session = await InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    const outputs = await session.run(feeds);
    const plain = Object.entries(outputs).map(([name, { type, dims, data }]) => {
      const { buffer, byteOffset, byteLength } = data as Float32Array;
      return [name, { type, dims, bytes: new Uint8Array(buffer, byteOffset, byteLength).slice() }] as const;
    });
    return Object.fromEntries(plain);
  } finally {
    await session.release();
  }
}

/** The furthest that a number of one is from that of the other, over the largest there is; names, types, shapes alike. */
export function distance(want: Results, got: Results): number {
  const distances = Object.entries(want).map(([name, { type, dims, bytes }]) => {
    const other = got[name];
    const form = `${name}: ${type} [${dims}]`;
    if (!other || `${name}: ${other.type} [${other.dims}]` !== form) throw new Error(`${form} was wanted`);
    if (Buffer.from(bytes).equals(other.bytes)) return 0;
    if (!type.startsWith("float")) throw new Error(`${form} differs`);
    const [a, b] = [floatsOf(want, name), floatsOf(got, name)];
    const largest = a.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0) / largest;
  });
  return Math.max(...distances);
}

export function floatsOf(results: Results, name: string): number[] {
  const { bytes, type } = results[name]!;
  if (type === "float16") return [...halvesWidened(new Uint16Array(bytes.buffer))];
  return [...new Float32Array(bytes.buffer)];
}

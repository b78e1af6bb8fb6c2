import type { ByteSource } from "../../src/formats/byte-source.ts";
import { readModel } from "../../src/onnx/io/decode.ts";
import { type CanonicalModel, type CanonicalTensor, canonicalModel, exactly } from "./canonical-graph.ts";

// Two models held against each other: whether they are the same but for what runtimes do not look at. Not compared are IR
// version, value_info, metadata, producer, doc strings, the names of nodes and inner values, the order of nodes,
// how tensors are stored, and whether initializers are listed among the inputs.

export interface SameGraphOptions {
  /** Initializers that have to be there, but may be anything. */
  readonly except?: ((name: string) => boolean) | undefined;
}

/** What of one model is not as in the other, a line each; none where they are the same. */
export async function graphDifferences(
  got: ByteSource,
  want: ByteSource,
  { except = () => false }: SameGraphOptions = {},
): Promise<string[]> {
  const [ours, theirs] = [await canonicalModel(got), await canonicalModel(want)];
  const nodes = nodeDifferences(ours, theirs);
  return [
    ...mapDifferences("opset of", ours.opsets, theirs.opsets, (a, b) => (a === b ? undefined : `${a}, ${b} wanted`)),
    ...mapDifferences("initializer", ours.initializers, theirs.initializers, (a, b, name) =>
      except(name) ? undefined : listDifference(a, b),
    ),
    ...mapDifferences("input", ours.inputs, theirs.inputs, (a, b) => (a === b ? undefined : `${a}, ${b} wanted`)),
    ...nodes,
    ...mapDifferences("output", ours.outputs, theirs.outputs, (a, b) => {
      if (a.type !== b.type) return `${a.type}, ${b.type} wanted`;
      // Where nodes differ, what they give does, too.
      if (a.key === b.key || nodes.length > 0) return undefined;
      return `is ${whatGives(ours, a.key)}, and should be ${whatGives(ours, b.key)}`;
    }),
  ];
}

/** Inner values that are the same in both models and go by other names. */
export async function nameDifferences(got: ByteSource, want: ByteSource): Promise<string[]> {
  const [ours, theirs] = [await canonicalModel(got), await canonicalModel(want)];
  return [...ours.values].flatMap(([key, names]) => {
    const [a, b] = [names, theirs.values.get(key) ?? names].map((list) => [...list].sort().join(", "));
    return a === b ? [] : [`value ${a}: ${b} wanted; given by ${whatGives(ours, key)}`];
  });
}

/** A model's initializers by name, as they are whatever the file has them in. */
export async function initializersOf(source: ByteSource): Promise<ReadonlyMap<string, CanonicalTensor>> {
  const { initializers } = await canonicalModel(source);
  return new Map(Array.from(initializers, ([name, [first]]) => [name, first!]));
}

/** Initializers of a model's own graph that nodes of this type take as this input. */
export async function takenBy(source: ByteSource, opType: string, input: number): Promise<readonly string[]> {
  const { nodes, initializers } = (await readModel(source)).graph;
  const names = new Set(initializers.map(({ name }) => name));
  const taken = nodes.flatMap((node) => (node.opType === opType ? (node.inputs[input] ?? []) : []));
  return [...new Set(taken)].filter((name) => names.has(name));
}

function mapDifferences<T>(
  what: string,
  got: ReadonlyMap<string, T>,
  want: ReadonlyMap<string, T>,
  differenceOf: (got: T, want: T, name: string) => string | undefined,
): string[] {
  const missing = [...want.keys()].filter((name) => !got.has(name)).map((name) => `${what} ${show(name)}: missing`);
  const others = [...got].flatMap(([name, value]) => {
    const other = want.get(name);
    const difference = other === undefined ? "not wanted" : differenceOf(value, other, name);
    return difference === undefined ? [] : [`${what} ${show(name)}: ${difference}`];
  });
  return [...missing, ...others];
}

function show(name: string): string {
  return name === "" ? '""' : name;
}

function listDifference(got: readonly CanonicalTensor[], want: readonly CanonicalTensor[]): string | undefined {
  if (got.length !== want.length) return `${got.length} of this name, ${want.length} wanted`;
  return got.map((tensor, i) => tensorDifference(tensor, want[i]!)).find((difference) => difference !== undefined);
}

function tensorDifference(got: CanonicalTensor, want: CanonicalTensor): string | undefined {
  const [a, b] = [got, want].map(({ type, shape }) => `${type} [${shape}]`);
  if (a !== b) return `${a}, ${b} wanted`;
  if (Buffer.compare(got.bytes, want.bytes) === 0) return undefined;
  const at = got.bytes.findIndex((byte, i) => byte !== want.bytes[i]);
  const count = got.bytes.reduce((sum, byte, i) => sum + Number(byte !== want.bytes[i]), 0);
  const first = `byte ${at} is ${got.bytes[at]}, ${want.bytes[at]} wanted`;
  const [x, y] = [got, want].map((tensor) => elementAt(tensor, at));
  const element = x ? ` (element ${x.index} is ${x.value}, ${y!.value} wanted)` : "";
  return `${first}${element}; ${count} of ${got.bytes.length} bytes differ`;
}

const elements = {
  float32: { bytes: 4, at: (view: DataView, offset: number) => exactly(view.getFloat32(offset, true)) },
  float16: { bytes: 2, at: (view: DataView, offset: number) => `0x${view.getUint16(offset, true).toString(16)}` },
  int32: { bytes: 4, at: (view: DataView, offset: number) => view.getInt32(offset, true) },
  int64: { bytes: 8, at: (view: DataView, offset: number) => view.getBigInt64(offset, true) },
  int8: { bytes: 1, at: (view: DataView, offset: number) => view.getInt8(offset) },
} as const;

/** The element that has this byte, of the types whose bytes do not speak for themselves. */
function elementAt({ type, bytes }: CanonicalTensor, offset: number) {
  if (!(type in elements)) return undefined;
  const form = elements[type as keyof typeof elements];
  const index = Math.floor(offset / form.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { index, value: String(form.at(view, index * form.bytes)) };
}

/** As many as a reader can take in. */
const MOST_NODES = 10;

/** Of nodes that one side alone has those that differ of themselves, not by what they take. */
function nodeDifferences(got: CanonicalModel, want: CanonicalModel): string[] {
  return [...onlyIn(got, want, "not wanted"), ...onlyIn(want, got, "missing")];
}

function onlyIn(one: CanonicalModel, other: CanonicalModel, what: string): string[] {
  const left = new Map<string, number>();
  for (const { key } of other.nodes) left.set(key, (left.get(key) ?? 0) + 1);
  const alone = one.nodes.filter(({ key }) => {
    const count = left.get(key) ?? 0;
    left.set(key, count - 1);
    return count <= 0;
  });
  const first = alone.filter(({ parts }) => parts.every((key) => !one.values.has(key) || other.values.has(key)));
  const lines = first.slice(0, MOST_NODES).map(({ text }) => `node ${what}: ${text}`);
  const rest = alone.length - lines.length;
  return rest === 0
    ? lines
    : [...lines, `nodes ${what}: ${rest} more${first.length > MOST_NODES ? "" : ", all behind these"}`];
}

/** A value in words: the node that gives it, or what else it is. */
function whatGives({ nodes }: CanonicalModel, key: string): string {
  const found = nodes.find(({ gives }) => gives.includes(key));
  return found ? `output ${found.gives.indexOf(key)} of ${found.text}` : key;
}

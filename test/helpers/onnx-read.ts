import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { numbers } from "./wire-fields.ts";

/** A field of a message: all of its bytes, and what they carry. */
export interface Cut {
  readonly number: number;
  readonly wire: WireType;
  readonly bytes: Uint8Array;
  readonly payload: Uint8Array;
}

/** A message cut into its fields, in their order. */
export function cut(message: Uint8Array): Cut[] {
  const reader = new BinaryReader(message);
  const cuts: Cut[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, wire] = reader.tag();
    const from = reader.pos;
    reader.skip(wire, number);
    const bytes = message.subarray(start, reader.pos);
    const after = message.subarray(from, reader.pos);
    cuts.push({
      number,
      wire,
      bytes,
      payload: wire === WireType.LengthDelimited ? new BinaryReader(after).bytes() : after,
    });
  }
  return cuts;
}

/** The payloads of one field. */
export function payloads(message: Uint8Array, number: number): Uint8Array[] {
  return cut(message)
    .filter((each) => each.number === number)
    .map(({ payload }) => payload);
}

export function texts(message: Uint8Array, number: number): string[] {
  return payloads(message, number).map((bytes) => Buffer.from(bytes).toString("utf8"));
}

/** Whole numbers, one by one or packed. */
export function integers(message: Uint8Array, number: number): number[] {
  return payloads(message, number).flatMap((payload) => {
    const reader = new BinaryReader(payload);
    const values: number[] = [];
    while (reader.pos < reader.len) values.push(Number(reader.int64()));
    return values;
  });
}

export interface ReadTensor {
  readonly name: string;
  readonly typeCode: number;
  readonly shape: readonly number[];
  readonly raw: Uint8Array;
  readonly message: Uint8Array;
}

export interface ReadNode {
  readonly op: string;
  readonly name: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Uint8Array>;
  readonly message: Uint8Array;
}

export interface ReadGraph {
  readonly nodes: readonly ReadNode[];
  readonly initializers: readonly ReadTensor[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export function graphIn(modelBytes: Uint8Array): Uint8Array {
  return payloads(modelBytes, numbers.model.graph)[0]!;
}

export function readGraph(message: Uint8Array): ReadGraph {
  const g = numbers.graph;
  const named = (number: number) => payloads(message, number).map((each) => texts(each, 1)[0] ?? "");
  return {
    nodes: payloads(message, g.node).map(readNode),
    initializers: payloads(message, g.initializer).map(readTensor),
    inputs: named(g.input),
    outputs: named(g.output),
  };
}

function readNode(message: Uint8Array): ReadNode {
  const n = numbers.node;
  const attributes = payloads(message, n.attribute).map((each) => [texts(each, 1)[0] ?? "", each] as const);
  return {
    op: texts(message, n.opType)[0] ?? "",
    name: texts(message, n.name)[0] ?? "",
    domain: texts(message, n.domain)[0] ?? "",
    inputs: texts(message, n.input),
    outputs: texts(message, n.output),
    attributes: new Map(attributes),
    message,
  };
}

function readTensor(message: Uint8Array): ReadTensor {
  const t = numbers.tensor;
  return {
    name: texts(message, t.name)[0] ?? "",
    typeCode: integers(message, t.dataType)[0] ?? 0,
    shape: integers(message, t.dims),
    raw: payloads(message, t.rawData)[0] ?? new Uint8Array(0),
    message,
  };
}

/** The graph of a model and those within it, outer ones first. */
export function graphsIn(modelBytes: Uint8Array): ReadGraph[] {
  const all: ReadGraph[] = [];
  const visit = (message: Uint8Array) => {
    const read = readGraph(message);
    all.push(read);
    const a = numbers.attribute;
    for (const { attributes } of read.nodes) {
      for (const each of attributes.values()) {
        for (const inner of [...payloads(each, a.g), ...payloads(each, a.graphs)]) visit(inner);
      }
    }
  };
  visit(graphIn(modelBytes));
  return all;
}

import type { Companion } from "../formats/source.ts";
import type { Place, TensorFiles } from "./data.ts";
import { graphsOf, type Model, makeAttribute, type Tensor } from "./graph.ts";
import type { Pending } from "./wire.ts";
import type { Addresses } from "./write.ts";

/** ONNX asks for pages, so that runtimes can map what is long. */
const PAGE = 4096;
const LONG = 1 << 20;
const SHORT = 16;

/** Shorter ones of ours stay in the model. */
const WORTH_A_FILE = 1024;

/** What is to be copied into the data file. */
export interface Copy {
  readonly name: string;
  readonly from: Place;
  readonly position: number;
}

/** Lays tensors out in a model's data file: those that were outside the model before, and what took their place. */
export class DataFile {
  readonly copies: Copy[] = [];
  readonly #places = new Map<string, number>();
  #length = 0;

  constructor(
    private readonly companion: Companion,
    private readonly files: TensorFiles,
    private readonly addresses: Addresses,
  ) {}

  get byteLength(): number {
    return this.#length;
  }

  /** Points every tensor that belongs there to its place in the data file. */
  take(model: Model, isOurs: (pending: Pending) => boolean): void {
    for (const graph of graphsOf(model.graph)) {
      graph.initializers = graph.initializers.map((tensor) => this.#placed(tensor, isOurs));
      for (const node of graph.nodes) {
        node.attributes = node.attributes.map((attribute) => {
          const { name, value } = attribute;
          if (value.kind !== "tensor" || value.value.data.kind !== "external") return attribute;
          return makeAttribute(name, { kind: "tensor", value: this.#placed(value.value, isOurs) });
        });
      }
    }
  }

  #placed(tensor: Tensor, isOurs: (pending: Pending) => boolean): Tensor {
    const { data, name } = tensor;
    if (data.kind === "external") {
      const from = this.files.placeOf(tensor)!;
      // Tensors may share their bytes.
      const key = `${from.start}:${from.end}:${data.place.location}`;
      const there = this.#places.get(key);
      const position = there ?? this.#reserve(from.end - from.start);
      if (there === undefined) this.copies.push({ name, from, position });
      this.#places.set(key, position);
      return this.#at(tensor, position, from.end - from.start);
    }
    if (data.kind !== "pending" || data.pending.byteLength < WORTH_A_FILE || !isOurs(data.pending)) return tensor;
    const position = this.#reserve(data.pending.byteLength);
    this.addresses.set(data.pending, this.companion, position);
    return this.#at(tensor, position, data.pending.byteLength);
  }

  #at(tensor: Tensor, position: number, length: number): Tensor {
    const entries = new Map([
      ["location", this.companion.name],
      ["offset", String(position)],
      ["length", String(length)],
    ]);
    return { ...tensor, data: { kind: "placed", entries } };
  }

  #reserve(length: number): number {
    const grain = length >= LONG ? PAGE : SHORT;
    const position = Math.ceil(this.#length / grain) * grain;
    this.#length = position + length;
    return position;
  }
}

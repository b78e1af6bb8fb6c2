import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { bytesOf } from "../../engine/tensors/tensor.ts";
import { FormatError } from "../../errors.ts";
import { type ByteSource, readExactly } from "../../formats/byte-source.ts";
import { type ExternalPlace, graphsOf, type Model, type Tensor, type TensorData } from "../ir/graph.ts";
import { bitsOf, type ElementType, tensorField, typeNameOf } from "../proto/schema.ts";
import { refuseUnsupportedExternal } from "./unsupported-external.ts";

/** Where elements lie one after the other, little-endian. */
export interface FileRange {
  readonly source: ByteSource;
  readonly start: number;
  readonly end: number;
}

/** The data of a model's tensors: in its own file and in those beside it. */
export class TensorFiles {
  readonly #siblings = new Map<string, ByteSource>();

  private constructor(readonly source: ByteSource) {}

  /**
   * Opens the files that a model's tensors are in, and holds what is claimed of them against what they have.
   *
   * @throws FormatError naming model and tensor
   */
  static async open(source: ByteSource, model: Model): Promise<TensorFiles> {
    refuseUnsupportedExternal(model);
    const files = new TensorFiles(source);
    try {
      await files.include(model);
    } catch (error) {
      await files.close();
      throw error;
    }
    return files;
  }

  /**
   * Opens the files of tensors that the model has got since.
   *
   * @throws FormatError naming model and tensor
   */
  async include(model: Model): Promise<void> {
    for (const tensor of tensorsOf(model)) {
      if (tensor.data.kind === "external") await this.#look(tensor, tensor.data.place);
    }
  }

  async #look(tensor: Tensor, { location }: ExternalPlace): Promise<void> {
    if (!this.#siblings.has(location)) {
      const { source } = this;
      if (!source.sibling) {
        throw new FormatError(
          source.name,
          `its data is in ${JSON.stringify(location)}, and only the model was given`,
          tensor.name,
        );
      }
      const file = await source.sibling(location).catch((cause: unknown) => {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new FormatError(source.name, `its data cannot be had: ${why}`, tensor.name, { cause });
      });
      this.#siblings.set(location, file);
    }
    this.placeOf(tensor);
  }

  /** Names of the other files, as the model says them. */
  get locations(): readonly string[] {
    return [...this.#siblings.keys()];
  }

  /** The other files. */
  get siblings(): readonly ByteSource[] {
    return [...this.#siblings.values()];
  }

  /** Bytes of all files together. */
  get byteLength(): number {
    return Array.from(this.#siblings.values()).reduce((sum, file) => sum + file.byteLength, this.source.byteLength);
  }

  /**
   * Where a tensor's elements lie; undefined where they are not in one piece.
   *
   * @throws FormatError when there is less than the tensor claims
   */
  placeOf(tensor: Tensor): FileRange | undefined {
    const { name, data, type, shape } = tensor;
    if (data.kind === "span") return data;
    if (data.kind !== "external") return undefined;
    const { location, offset, length } = data.place;
    const source = this.#siblings.get(location)!;
    const bits = bitsOf(type);
    const given = length ?? Math.max(source.byteLength - offset, 0);
    const wanted = bits === undefined ? given : Math.ceil((elementsOf(shape) * bits) / 8);
    if ((length ?? wanted) !== wanted || offset + wanted > source.byteLength) {
      const claim = `claims [${shape.slice(0, 8).join(", ")}] of ${typeNameOf(tensor)}, ${wanted} bytes`;
      const there = `${Math.max(Math.min(given, source.byteLength - offset), 0)} are there from byte ${offset} on`;
      throw new FormatError(this.source.name, `${claim} of ${JSON.stringify(location)}; ${there}`, name);
    }
    return { source, start: offset, end: offset + wanted };
  }

  /**
   * A tensor's elements, little-endian, one after the other.
   *
   * @throws FormatError when there are not as many as the shape says
   */
  async read(tensor: Tensor): Promise<Uint8Array> {
    const { data, name } = tensor;
    const place = this.placeOf(tensor);
    if (place) return readExactly(place.source, place.start, place.end, name);
    if (data.kind === "bytes") return data.bytes;
    if (data.kind !== "typed") throw new FormatError(this.source.name, "its data cannot be read", name);
    return this.#readTyped(tensor, data);
  }

  async #readTyped(tensor: Tensor, { message: { index }, fields }: TypedData): Promise<Uint8Array> {
    const { name, type, shape } = tensor;
    const elements = elementsOf(shape);
    const bits = bitsOf(type) ?? 8;
    // Elements narrower than a byte are packed: a number for each byte.
    const values: Numbers = newArray(type!, bits < 8 ? Math.ceil((elements * bits) / 8) : elements);
    const wide = values instanceof BigInt64Array || values instanceof BigUint64Array;
    let filled = 0;
    for (const { number, wire, start, data, end } of fields) {
      const packed = wire === WireType.LengthDelimited;
      const from = packed ? data : start;
      const bytes = index.has(from, end) ? index.bytes(from, end) : await readExactly(this.source, from, end, name);
      const reader = new BinaryReader(bytes);
      const read = readerOf(number, reader);
      try {
        while (reader.pos < reader.len && filled <= values.length) {
          if (!packed) reader.tag();
          const value = read();
          if (filled < values.length) values[filled] = wide ? BigInt(value) : Number(value);
          filled++;
        }
      } catch (cause) {
        throw new FormatError(this.source.name, "its numbers are damaged", name, { cause });
      }
    }
    if (filled === values.length) return bytesOf(values);
    const many = filled > values.length ? "more" : `${filled}`;
    throw new FormatError(
      this.source.name,
      `claims [${shape.join(", ")}], ${elements} values; ${many} are there`,
      name,
    );
  }

  async close(): Promise<void> {
    for (const file of this.#siblings.values()) await (file as ByteSource & { close?(): Promise<void> }).close?.();
  }
}

type TypedData = Extract<TensorData, { kind: "typed" }>;

/** A typed array of either kind, to be filled. */
type Numbers = ArrayBufferView & { readonly length: number; [index: number]: number | bigint };

function readerOf(number: number, reader: BinaryReader): () => number | bigint {
  switch (number) {
    case tensorField.floatData:
      return () => reader.float();
    case tensorField.doubleData:
      return () => reader.double();
    case tensorField.int64Data:
      return () => reader.int64() as bigint;
    case tensorField.uint64Data:
      return () => reader.uint64() as bigint;
    default:
      return () => reader.int32();
  }
}

/** Arrays for the types that are not held in 8 bits. int32_data holds half floats as their bits, as all that is narrow. */
const arrayTypes = {
  ...{ float32: Float32Array, float64: Float64Array },
  ...{ int64: BigInt64Array, uint64: BigUint64Array, int32: Int32Array, uint32: Uint32Array },
  ...{ float16: Uint16Array, bfloat16: Uint16Array, int16: Uint16Array, uint16: Uint16Array },
} as const;

function newArray(type: ElementType, length: number): Numbers {
  return new (arrayTypes[type as keyof typeof arrayTypes] ?? Uint8Array)(length);
}

/** Every tensor that passes may look at: initializers and values of Constant nodes, in all graphs. */
export function* tensorsOf(model: Model): Generator<Tensor> {
  for (const graph of graphsOf(model.graph)) {
    yield* graph.initializers;
    for (const node of graph.nodes) {
      for (const { value } of node.attributes) if (value.kind === "tensor") yield value.value;
    }
  }
}

/** Whether a tensor's elements are in another file than the model, or come from there. */
export function isOutside({ data }: Tensor): boolean {
  return data.kind === "external" || (data.kind === "span" && data.isOutside === true);
}

/** Bytes of a tensor's elements; 0 for types of no fixed width. */
export function bytesOfTensor({ shape, type }: Tensor): number {
  return Math.ceil((elementsOf(shape) * (bitsOf(type) ?? 0)) / 8);
}

import { ArgumentError, FileError } from "../../errors.ts";
import type { ByteSink, CompanionSink } from "../../formats/byte-source.ts";
import { copyRange } from "../../pipeline/copy-bytes.ts";
import type { Tracker } from "../../pipeline/progress.ts";
import { graphsOf, type Model, type Tensor } from "../ir/graph.ts";
import type { Pending } from "../proto/wire-format.ts";
import { type FileRange, type TensorFiles, tensorsOf } from "./tensor-data.ts";
import type { Addresses } from "./write-segments.ts";

/** ONNX asks for pages, so that runtimes can map what is long. */
const PAGE = 4096;
const LONG = 1 << 20;
const SHORT = 16;

/** Shorter ones of ours stay in the model. */
const WORTH_A_FILE = 1024;

/** What takes the place of a tensor that is outside. */
export interface Replacement {
  readonly tensor: Tensor;
  /** All that is made of it. */
  readonly parts: readonly Pending[];
  /** Equal where the same is made of the same numbers. */
  readonly key: string;
}

/** What is to be copied into the data file. */
interface Copy {
  readonly name: string;
  readonly from: FileRange;
  readonly position: number;
}

/**
 * Gives a model whose tensors are outside a data file for its output, laid out but not yet written: for what was outside
 * before, and for what takes its place. Undefined for a model that has all its tensors inside.
 *
 * @throws ArgumentError when the sink has no room for a second file
 */
export async function layOutExternalData(
  model: Model,
  files: TensorFiles,
  { sink, suffix }: { readonly sink: ByteSink; readonly suffix: string },
  replacements: readonly Replacement[],
  addresses: Addresses,
): Promise<ExternalDataFile | undefined> {
  const ours = new Set(replacements.flatMap(({ parts }) => parts));
  const belongs = ({ data }: Tensor) =>
    data.kind === "external" ||
    (data.kind === "pending" && data.pending.byteLength >= WORTH_A_FILE && ours.has(data.pending));
  if (!Array.from(tensorsOf(model)).some(belongs)) return undefined;
  if (!sink.companion) {
    throw new ArgumentError(
      "sink",
      "the model keeps its weights in another file, and this sink has no companion for them",
    );
  }
  const companion = await sink.companion(suffix);
  // In place of the input itself its data may go, too.
  if (sink.replaces !== files.source.identity) checkKept(files, companion.replaces);
  const file = new ExternalDataFile(companion, files, addresses, sharedIn(replacements, files));
  file.take(model, belongs);
  return file;
}

/** What is made of the same bytes of a data file, by what it is: tensors that share them go on sharing. */
function sharedIn(replacements: readonly Replacement[], files: TensorFiles): ReadonlyMap<Pending, string> {
  const keys = new Map<Pending, string>();
  for (const { tensor, parts, key } of replacements) {
    const { data, shape } = tensor;
    const place = files.placeOf(tensor);
    if (!place || data.kind !== "external") continue;
    const what = [data.place.location, place.start, place.end, shape, key].join();
    for (const [part, pending] of parts.entries()) keys.set(pending, `${part} of ${what}`);
  }
  return keys;
}

/** @throws FileError when the file to be replaced holds the input's tensors */
export function checkKept(files: TensorFiles, replaced: string | undefined): void {
  const own = replaced === undefined ? undefined : files.siblings.find(({ identity }) => identity === replaced);
  if (own)
    throw new FileError(own.name, "holds the input's weights, and the output would replace it; name another output");
}

/** Lays tensors out in a model's data file. */
export class ExternalDataFile {
  readonly #copies: Copy[] = [];
  readonly #places = new Map<string, number>();
  #length = 0;

  constructor(
    private readonly companion: CompanionSink,
    private readonly files: TensorFiles,
    private readonly addresses: Addresses,
    private readonly shared: ReadonlyMap<Pending, string>,
  ) {}

  get byteLength(): number {
    return this.#length;
  }

  get copiedBytes(): number {
    return this.#copies.reduce((sum, { from }) => sum + from.end - from.start, 0);
  }

  /** Copies what was outside before. */
  async copy(tracker: Tracker): Promise<void> {
    for (const { name, from, position } of this.#copies) {
      await copyRange(from.source, { name, start: from.start, end: from.end }, this.companion, position, tracker);
    }
  }

  /** Points every tensor that belongs there to its place in the data file. */
  take(model: Model, belongs: (tensor: Tensor) => boolean): void {
    for (const graph of graphsOf(model.graph)) {
      graph.initializers = graph.initializers.map((tensor) => (belongs(tensor) ? this.#placed(tensor) : tensor));
      for (const node of graph.nodes) {
        node.attributes = node.attributes.map((attribute) => {
          const { value } = attribute;
          if (value.kind !== "tensor" || !belongs(value.value)) return attribute;
          return { ...attribute, value: { kind: "tensor", value: this.#placed(value.value) } };
        });
      }
    }
  }

  #placed(tensor: Tensor): Tensor {
    const { data, name } = tensor;
    if (data.kind === "external") {
      const from = this.files.placeOf(tensor)!;
      // Tensors may share their bytes.
      const key = `${from.start}:${from.end}:${data.place.location}`;
      const there = this.#places.get(key);
      const position = there ?? this.#reserve(from.end - from.start);
      if (there === undefined) this.#copies.push({ name, from, position });
      this.#places.set(key, position);
      return this.#at(tensor, position, from.end - from.start);
    }
    if (data.kind !== "pending") return tensor;
    const key = this.shared.get(data.pending);
    const position = (key === undefined ? undefined : this.#places.get(key)) ?? this.#reserve(data.pending.byteLength);
    if (key !== undefined) this.#places.set(key, position);
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

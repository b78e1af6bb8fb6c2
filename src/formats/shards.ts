/**
 * Checkpoints in several safetensors files, and the index that says which tensor is in which
 * (`model.safetensors.index.json`): Hugging Face's convention, huggingface_hub's serialization/_torch.py.
 */
import { FormatError } from "../errors.ts";
import { type ByteSource, readExactly } from "./byte-source.ts";
import { detectFileType } from "./detect-file-type.ts";
import { type JsonValue, parseJson, show } from "./json.ts";
import { readSafetensorsHeader, type SafetensorsHeader } from "./safetensors.ts";

export interface ShardIndex {
  /** Whatever the writer put there, `total_size` as a rule. */
  readonly metadata: ReadonlyMap<string, JsonValue>;
  /** The shards, by name: `model-00001-of-00003.safetensors` before the others. */
  readonly files: readonly string[];
  /** Which shard each tensor is in. */
  readonly weightMap: ReadonlyMap<string, string>;
}

/** A shard that is open. */
export interface Shard extends SafetensorsHeader {
  /** As the index calls it. */
  readonly file: string;
  readonly source: ByteSource;
}

export interface Shards {
  /** In the order of the index's `files`. */
  readonly shards: readonly Shard[];
  close(): Promise<void>;
}

/** As much as a header may take: it names the same tensors. */
const MAX_INDEX_BYTES = 100_000_000;

/** The name of an index: `model` makes `model.safetensors.index.json`. */
export function shardIndexName(stem: string): string {
  return `${stem}.safetensors.index.json`;
}

/** The name of a shard, counted from 1: `model` makes `model-00001-of-00003.safetensors`. */
export function shardName(stem: string, number: number, count: number): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return `${stem}-${digits(number)}-of-${digits(count)}.safetensors`;
}

/**
 * Reads an index, and none of the shards.
 *
 * @throws FormatError
 */
export async function readShardIndex(source: ByteSource): Promise<ShardIndex> {
  const fail = (message: string, tensor?: string) => new FormatError(source.name, message, tensor);
  const index = parseJson(await readText(source), (message) => fail(`bad index: ${message}`));
  if (!(index instanceof Map)) throw fail(`must be an object with a weight_map, got ${show(index)}`);
  const metadata = index.get("metadata") ?? new Map<string, JsonValue>();
  if (!(metadata instanceof Map)) throw fail(`metadata must be an object, got ${show(metadata)}`);
  const entries = index.get("weight_map");
  if (!(entries instanceof Map)) throw fail(`weight_map must be an object of file names, got ${show(entries)}`);
  const weightMap = new Map<string, string>();
  for (const [tensor, file] of entries) {
    if (typeof file !== "string") throw fail(`its shard must be a file's name, got ${show(file)}`, tensor);
    if (!isPlainName(file)) throw fail(`its shard ${show(file)} is not a file beside the index`, tensor);
    if (file === nameIn(source.name))
      throw fail("its shard is said to be this file, which is the index itself", tensor);
    weightMap.set(tensor, file);
  }
  if (weightMap.size === 0) throw fail("weight_map lists no tensors");
  return { metadata, files: [...new Set(weightMap.values())].sort(), weightMap };
}

async function readText(source: ByteSource): Promise<string> {
  const { byteLength, name } = source;
  if (byteLength > MAX_INDEX_BYTES) {
    throw new FormatError(name, `${byteLength} bytes are too many for an index; the limit is ${MAX_INDEX_BYTES}`);
  }
  const bytes = await readExactly(source, 0, byteLength);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(name, "is not UTF-8", undefined, { cause });
  }
}

/** A path's last part. */
function nameIn(path: string): string {
  return path.replace(/^.*[\\/]/, "");
}

function isPlainName(file: string): boolean {
  // on Windows "c:x" is a place as well
  return !/^\.{0,2}$|[\\/:\0]/.test(file);
}

/**
 * Opens every shard, reads its header and holds it against the index. Tensors that the index does not list come along:
 * Hugging Face's loaders take whatever is in the shards it names.
 *
 * @param source the index, whose siblings the shards are
 * @throws FormatError naming the index, the shard and a tensor, where a shard or a tensor in it is missing, or a tensor
 * is in two
 */
export async function openShards(source: ByteSource, index: ShardIndex): Promise<Shards> {
  const opened: { close?(): Promise<void> }[] = [];
  const close = async () => {
    await Promise.all(opened.splice(0).map((shard) => shard.close?.()));
  };
  try {
    const shards: Shard[] = [];
    for (const file of index.files) {
      const shard = await openShard(source, index, file);
      opened.push(shard);
      shards.push({ file, source: shard, ...(await readHeader(shard)) });
    }
    checkPlaces(source.name, index, shards);
    return { shards, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openShard(source: ByteSource, { weightMap }: ShardIndex, file: string) {
  const fail = (message: string, cause?: unknown) => {
    const wanting = Array.from(weightMap).find(([, shard]) => shard === file)?.[0];
    return new FormatError(source.name, message, wanting, { cause });
  };
  if (!source.sibling) throw fail(`is in the shard ${show(file)}, and only the index was given`);
  return source.sibling(file).catch((cause: unknown) => {
    throw fail(`its shard ${show(file)} cannot be had: ${cause instanceof Error ? cause.message : cause}`, cause);
  });
}

async function readHeader(shard: ByteSource): Promise<SafetensorsHeader> {
  // which knows what is there instead: a pointer to a file not fetched, a web page
  const format = await detectFileType(shard);
  if (format === "safetensors") return readSafetensorsHeader(shard);
  throw new FormatError(shard.name, `is no safetensors file but ${format}`);
}

function checkPlaces(name: string, { weightMap }: ShardIndex, shards: readonly Shard[]): void {
  const places = new Map<string, string>();
  for (const { file, tensors } of shards) {
    for (const { name: tensor } of tensors) {
      const other = places.get(tensor);
      if (other !== undefined)
        throw new FormatError(name, `is in two shards, ${show(other)} and ${show(file)}`, tensor);
      places.set(tensor, file);
    }
  }
  for (const [tensor, file] of weightMap) {
    const place = places.get(tensor);
    if (place === file) continue;
    const where = place === undefined ? "no shard holds it" : `it is in ${show(place)}`;
    throw new FormatError(name, `the index has it in ${show(file)}, but ${where}`, tensor);
  }
}

/**
 * A new index, laid out as Hugging Face does it: keys sorted, two spaces, all but ASCII escaped.
 *
 * @param metadata kept as it is, but for `total_size`
 * @param totalSize bytes of all tensors together
 */
export function encodeShardIndex(
  metadata: ReadonlyMap<string, JsonValue>,
  totalSize: number,
  weightMap: ReadonlyMap<string, string>,
): Uint8Array {
  const index = new Map<string, JsonValue>([
    ["metadata", new Map([...metadata, ["total_size", totalSize]])],
    ["weight_map", new Map(weightMap)],
  ]);
  return new TextEncoder().encode(`${format(index, "\n")}\n`);
}

/** What Python's `json.dumps(value, indent=2, sort_keys=True)` makes of it, but for floats: 2.0 is 2. */
function format(value: JsonValue, newline: string): string {
  if (typeof value === "string") return quote(value);
  if (!(value instanceof Map) && !Array.isArray(value)) return String(value);
  const inner = `${newline}  `;
  const items =
    value instanceof Map
      ? [...value].sort(([a], [b]) => compare(a, b)).map(([key, item]) => `${quote(key)}: ${format(item, inner)}`)
      : value.map((item) => format(item, inner));
  const [open, close] = value instanceof Map ? "{}" : "[]";
  return items.length === 0 ? `${open}${close}` : `${open}${inner}${items.join(`,${inner}`)}${newline}${close}`;
}

function quote(text: string): string {
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\x7f-\uffff]/g, escaped);
}

/** By code points, as Python does; JavaScript alone goes by UTF-16 units. */
function compare(a: string, b: string): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  return (a.codePointAt(i) ?? -1) - (b.codePointAt(i) ?? -1);
}

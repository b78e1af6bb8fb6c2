/**
 * Safetensors files: 8 bytes of header length, a JSON header, the tensors' bytes (little-endian, row-major).
 * The format: https://github.com/huggingface/safetensors#format, and safetensors/src/tensor.rs there.
 */
import { ArgumentError, FormatError } from "../errors.ts";
import { type ByteSink, type ByteSource, readExactly } from "./byte-source.ts";
import { type JsonValue, parseMembers, show } from "./json.ts";

/** Bits per element of every dtype of the format (`Dtype::bitsize`). */
export const safetensorsTypes = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const satisfies Record<string, number>;

export type SafetensorsDType = keyof typeof safetensorsTypes;

export interface SafetensorsItem {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  /** Row-major; `[]` is a scalar, a dimension of 0 an empty tensor. */
  readonly shape: readonly number[];
}

export interface SafetensorsTensor extends SafetensorsItem {
  /** Where its first byte lies, counted from the start of the file. */
  readonly start: number;
  /** One past its last byte. */
  readonly end: number;
}

export interface SafetensorsHeader {
  /** `__metadata__`; empty where the file has none. */
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of the header's keys, which need not be the order of the data. */
  readonly tensors: readonly SafetensorsTensor[];
}

export interface SafetensorsPlan {
  /** The file's first bytes, up to the data. */
  readonly header: Uint8Array;
  /** The whole file's length in bytes. */
  readonly byteLength: number;
  /** In the order given. */
  readonly tensors: readonly SafetensorsTensor[];
}

type Fail = (message: string) => Error;

const LENGTH_BYTES = 8;

/** The format's own limit (`MAX_HEADER_SIZE`): nobody's header is larger, and a hostile length must not fill memory. */
const MAX_HEADER_BYTES = 100_000_000;

const METADATA = "__metadata__";

/** Of the characters in a tensor's name, which an error would repeat. */
const MAX_NAME = 4096;

/**
 * What is in a safetensors file. Reads the header and nothing after it, and proves from it that the tensors tile the
 * rest of the file: no overlap, no hole, no byte too many. Throws FormatError, with the tensor's name where it is about
 * one.
 */
export async function readSafetensorsHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const dataStart = LENGTH_BYTES + (await readHeaderLength(source));
  const { metadata, tensors } = parseHeader(source, await readHeaderText(source, dataStart), dataStart);
  proveTiling(source, tensors, dataStart);
  return { metadata, tensors };
}

async function readHeaderLength(source: ByteSource): Promise<number> {
  const fail: Fail = (message) => new FormatError(source.name, message);
  if (source.byteLength < LENGTH_BYTES) {
    throw fail(`${source.byteLength} bytes are too few for a safetensors file: its header length alone takes 8`);
  }
  const prefix = await readExactly(source, 0, LENGTH_BYTES);
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length === 0n) throw fail("header length is 0; the shortest header, {}, takes 2 bytes");
  if (length > MAX_HEADER_BYTES) {
    throw fail(`header length ${length} is over the format's limit of ${MAX_HEADER_BYTES} bytes`);
  }
  const left = source.byteLength - LENGTH_BYTES;
  if (length > left) throw fail(`header length ${length} is over the ${left} bytes that follow it`);
  return Number(length);
}

async function readHeaderText(source: ByteSource, dataStart: number): Promise<string> {
  const bytes = await readExactly(source, LENGTH_BYTES, dataStart);
  try {
    // ignoreBOM keeps a byte order mark in the text, where it is refused like any other character before the "{"
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(source.name, "header is not UTF-8", undefined, { cause });
  }
}

function parseHeader(source: ByteSource, text: string, dataStart: number): SafetensorsHeader {
  const { name: file } = source;
  if (!text.startsWith("{")) throw new FormatError(file, `header must start with "{", got ${show(text.slice(0, 1))}`);
  let metadata: Readonly<Record<string, string>> = {};
  const fail = (message: string, [name]: readonly string[]) =>
    new FormatError(file, `bad header: ${message}`, name === METADATA || tooLong(name) ? undefined : name);
  const tensors = parseMembers(text, fail, (name, entry) => {
    if (tooLong(name)) throw fail(`${show(name)} is a name of ${name.length} characters, over ${MAX_NAME}`, []);
    if (name !== METADATA) return tensorOf(source, name, entry, dataStart);
    metadata = metadataOf(file, entry);
    return undefined;
  });
  tensors.delete(METADATA);
  return { metadata, tensors: [...tensors.values()] as SafetensorsTensor[] };
}

function tooLong(name = ""): boolean {
  return name.length > MAX_NAME;
}

function metadataOf(file: string, value: JsonValue): Record<string, string> {
  if (!(value instanceof Map)) throw new FormatError(file, `${METADATA} must be a map of strings, got ${show(value)}`);
  const pairs = Array.from(value, ([key, text]) => {
    if (typeof text === "string") return [key, text];
    throw new FormatError(file, `${METADATA} must be a map of strings, but ${show(key)} is ${show(text)}`);
  });
  // fromEntries defines properties, so that a key of __proto__ is one too
  return Object.fromEntries(pairs);
}

function tensorOf(source: ByteSource, name: string, entry: JsonValue, dataStart: number): SafetensorsTensor {
  const fail: Fail = (message) => new FormatError(source.name, message, name);
  if (!(entry instanceof Map)) throw fail(`must be an object of dtype, shape and data_offsets, got ${show(entry)}`);
  const dtype = dtypeOf(entry.get("dtype"), fail);
  const shape = shapeOf(entry.get("shape"), fail);
  const [begin, end] = offsetsOf(entry.get("data_offsets"), source.byteLength - dataStart, fail);
  const expected = byteLengthOf(dtype, shape, fail);
  if (end - begin !== expected) {
    throw fail(`data_offsets [${begin},${end}] hold ${end - begin} bytes; ${dtype} ${show(shape)} takes ${expected}`);
  }
  return { name, dtype, shape, start: dataStart + begin, end: dataStart + end };
}

function dtypeOf(value: JsonValue | undefined, fail: Fail): SafetensorsDType {
  if (typeof value === "string" && Object.hasOwn(safetensorsTypes, value)) return value as SafetensorsDType;
  throw fail(`dtype ${show(value)} is not one of ${Object.keys(safetensorsTypes).join(", ")}`);
}

function shapeOf(value: JsonValue | undefined, fail: Fail): number[] {
  if (Array.isArray(value) && value.every(isCount)) return value;
  throw fail(`shape must be an array of integers from 0 to 2^53 - 1, got ${show(value)}`);
}

function offsetsOf(value: JsonValue | undefined, dataBytes: number, fail: Fail): [begin: number, end: number] {
  const [begin, end] = Array.isArray(value) && value.length === 2 ? value : [];
  if (!isCount(begin) || !isCount(end)) {
    throw fail(`data_offsets must be two integers from 0 to 2^53 - 1, got ${show(value)}`);
  }
  if (begin > end) throw fail(`data_offsets [${begin},${end}] end before they begin`);
  if (end > dataBytes) throw fail(`data_offsets [${begin},${end}] reach past the file's ${dataBytes} bytes of data`);
  return [begin, end];
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function byteLengthOf(dtype: SafetensorsDType, shape: readonly number[], fail: Fail): number {
  let bits: number = safetensorsTypes[dtype];
  // every partial product is checked, as in the official reader: a 0 further on does not excuse an overflow
  for (const size of shape) {
    bits *= size;
    if (!Number.isSafeInteger(bits)) throw fail(`${dtype} ${show(shape)} takes more than 2^53 - 1 bits`);
  }
  if (bits % 8 === 0) return bits / 8;
  throw fail(`${dtype} ${show(shape)} takes ${bits} bits, which is not a whole number of bytes`);
}

function proveTiling(source: ByteSource, tensors: readonly SafetensorsTensor[], dataStart: number): void {
  let at = dataStart;
  for (const { name, start, end } of tensors.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    if (start !== at) {
      const what = start < at ? "overlaps the tensor before it" : "leaves a hole before it";
      throw new FormatError(source.name, `${what}: it begins at ${start - dataStart}, not ${at - dataStart}`, name);
    }
    at = end;
  }
  if (at !== source.byteLength) {
    throw new FormatError(
      source.name,
      `the last tensor ends at ${at - dataStart}, but the file has ${source.byteLength - dataStart} bytes of data`,
    );
  }
}

/**
 * Where everything in a new file will lie. The header names the tensors in the order given; the data lies widest dtype
 * first, so that every tensor is aligned to its type. `__metadata__` is written when `metadata` has entries. Throws
 * ArgumentError for a name given twice or not allowed, and for what no reader would accept.
 */
export function planSafetensors(
  tensors: readonly SafetensorsItem[],
  metadata: Readonly<Record<string, string>> = {},
): SafetensorsPlan {
  checkNames(tensors);
  const { begins, sizes, dataBytes } = placeByWidth(tensors);
  const entries = tensors.map((tensor, i) => tensorEntry(tensor, begins[i]!, begins[i]! + sizes[i]!));
  const header = encodeHeader([...metadataEntries(metadata), ...entries]);
  const byteLength = header.byteLength + dataBytes;
  if (!Number.isSafeInteger(byteLength)) throw new ArgumentError("tensors", "take more than 2^53 - 1 bytes together");
  const placed = tensors.map(({ name, dtype, shape }, i) => {
    const start = header.byteLength + begins[i]!;
    return { name, dtype, shape, start, end: start + sizes[i]! };
  });
  return { header, byteLength, tensors: placed };
}

function checkNames(tensors: readonly SafetensorsItem[]): void {
  const seen = new Set<string>();
  for (const { name } of tensors) {
    if (name === METADATA) throw new ArgumentError("tensors", `${METADATA} is the format's own key, not a name`);
    if (seen.has(name)) throw new ArgumentError("tensors", `name ${show(name)} is given twice`);
    seen.add(name);
  }
}

function placeByWidth(tensors: readonly SafetensorsItem[]): { begins: number[]; sizes: number[]; dataBytes: number } {
  const sizes = tensors.map(({ name, dtype, shape }) => {
    const fail: Fail = (message) => new ArgumentError("tensors", `${show(name)}: ${message}`);
    return byteLengthOf(dtypeOf(dtype, fail), shapeOf([...shape], fail), fail);
  });
  const bits = tensors.map(({ dtype }) => safetensorsTypes[dtype]);
  const begins: number[] = [];
  let dataBytes = 0;
  for (const i of [...tensors.keys()].sort((a, b) => bits[b]! - bits[a]!)) {
    begins[i] = dataBytes;
    dataBytes += sizes[i]!;
  }
  return { begins, sizes, dataBytes };
}

function metadataEntries(metadata: Readonly<Record<string, string>>): string[] {
  const pairs = Object.entries(metadata).map(([key, value]) => {
    if (typeof value !== "string") throw new ArgumentError("metadata", `${show(key)} must be a string, got ${value}`);
    return `${quote(key, "metadata")}:${quote(value, "metadata")}`;
  });
  return pairs.length === 0 ? [] : [`${quote(METADATA, "metadata")}:{${pairs.join(",")}}`];
}

function tensorEntry({ name, dtype, shape }: SafetensorsItem, begin: number, end: number): string {
  return `${quote(name, "tensors")}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`;
}

function quote(text: string, argument: string): string {
  if (!/\p{Surrogate}/u.test(text)) return JSON.stringify(text);
  throw new ArgumentError(argument, `${show(text)} holds half a surrogate pair, which UTF-8 cannot`);
}

function encodeHeader(entries: readonly string[]): Uint8Array {
  // by hand: an object would sort names that look like integers to the front, and lose one of __proto__
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.byteLength / LENGTH_BYTES) * LENGTH_BYTES;
  if (length > MAX_HEADER_BYTES) {
    throw new ArgumentError("tensors", `header takes ${length} bytes; the format's limit is ${MAX_HEADER_BYTES}`);
  }
  const header = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, LENGTH_BYTES);
  return header;
}

/**
 * Writes a whole file, front to back. `data` is each tensor's bytes, little-endian. Leaves the sink open. Throws what
 * `planSafetensors` throws, and ArgumentError for data of another length than its dtype and shape take.
 */
export async function writeSafetensors(
  sink: ByteSink,
  tensors: readonly (SafetensorsItem & { readonly data: Uint8Array })[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const plan = planSafetensors(tensors, metadata);
  const pieces = plan.tensors.map(({ name, start, end }, i) => {
    const { data } = tensors[i]!;
    if (!(data instanceof Uint8Array)) throw new ArgumentError("tensors", `${show(name)}: data must be a Uint8Array`);
    if (data.byteLength === end - start) return { start, data };
    throw new ArgumentError("tensors", `${show(name)} has ${data.byteLength} bytes of data, not ${end - start}`);
  });
  await sink.write(0, plan.header);
  for (const { start, data } of pieces.sort((a, b) => a.start - b.start)) await sink.write(start, data);
}

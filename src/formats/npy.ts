/**
 * NumPy's .npy files, versions 1.0 to 3.0: a magic string, a Python dict, the array's bytes.
 * The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import { ArgumentError, FormatError } from "../errors.ts";
import { type ByteSink, type ByteSource, readExactly } from "./byte-source.ts";
import { show } from "./json.ts";

/** Bytes per element of the data types read and written, by NumPy's name for them (`descr`). */
export const npyTypes = {
  "<f2": 2,
  "<f4": 4,
  "<f8": 8,
  "|i1": 1,
  "|u1": 1,
  "<i2": 2,
  "<u2": 2,
  "<i4": 4,
  "<u4": 4,
  "<i8": 8,
  "<u8": 8,
  "|b1": 1,
} as const satisfies Record<string, number>;

export type NpyDType = keyof typeof npyTypes;

export interface NpyHeader {
  readonly descr: NpyDType;
  /** Row-major; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** Where the data begins, in bytes from the start of the file; it goes on to the file's end. */
  readonly start: number;
}

type Fail = (message: string) => Error;

/** What other types are called, by the letter in their `descr`, and what to save instead. */
const refusals: Readonly<Record<string, string>> = {
  O: "Python objects (a pickle); save a.astype('<f4')",
  S: "byte strings; save numbers",
  U: "text; save numbers",
  c: "complex numbers; save a.real and a.imag, each on its own",
  M: "dates; save a.astype('<i8')",
  m: "time spans; save a.astype('<i8')",
  V: "raw bytes (bfloat16 ends up so); save a.astype('<f4')",
};

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY

/** Magic, version and a 4-byte length. A 2-byte length leaves two bytes of the dict in it, which is never shorter. */
const PREFIX_BYTES = 12;

/** A shape takes a few dozen bytes (NumPy stops at 10,000 by default); 4 GiB, as version 2.0 has room for, is an attack. */
const MAX_HEADER_BYTES = 1_000_000;

/** Whether `bytes` start as a .npy file does. */
export function hasNpyMagic(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}

/**
 * What is in a .npy file: little-endian, row-major numbers. Reads the header and nothing after it. Throws FormatError
 * for a damaged file and for an array of another kind, with what to do in NumPy about it.
 *
 * @param name what errors call the array, where the file has several
 */
export async function readNpyHeader(source: ByteSource, name?: string): Promise<NpyHeader> {
  const fail: Fail = (message) => new FormatError(source.name, message, name);
  const { textStart, start, encoding } = frameOf(await readPrefix(source, fail), source.byteLength, fail);
  const text = decode(await readExactly(source, textStart, start, name), encoding, fail);
  const { descr: type, fortranOrder, shape } = parseHeader(text, fail);
  const descr = descrOf(type, fail);
  // with one dimension or none both orders are the same bytes
  if (fortranOrder && shape.length > 1) throw fail("Fortran order; save np.ascontiguousarray(a)");
  const expected = byteLengthOf(descr, shape, fail);
  const found = source.byteLength - start;
  if (found !== expected) {
    throw fail(`${found} bytes of data; '${descr}' ${show(shape)} takes ${expected}`);
  }
  return { descr, shape, start };
}

async function readPrefix(source: ByteSource, fail: Fail): Promise<Uint8Array> {
  const prefix = await readExactly(source, 0, Math.min(PREFIX_BYTES, source.byteLength));
  if (!hasNpyMagic(prefix)) throw fail("not a .npy file: it does not start with \\x93NUMPY");
  if (prefix.byteLength === PREFIX_BYTES) return prefix;
  throw fail(`${prefix.byteLength} bytes are too few for a .npy file`);
}

function frameOf(prefix: Uint8Array, byteLength: number, fail: Fail) {
  const [major, minor] = [prefix[6]!, prefix[7]!];
  if (major < 1 || major > 3 || minor !== 0) throw fail(`version ${major}.${minor} is not one of 1.0, 2.0, 3.0`);
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const textStart = major === 1 ? 10 : 12;
  const left = byteLength - textStart;
  if (length > left) throw fail(`header length ${length} is over the ${left} bytes that follow it`);
  if (length > MAX_HEADER_BYTES) throw fail(`header length ${length} is over the limit of ${MAX_HEADER_BYTES} bytes`);
  return { textStart, start: textStart + length, encoding: major === 3 ? "utf-8" : "latin1" };
}

function decode(bytes: Uint8Array, encoding: string, fail: Fail): string {
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw fail(`header is not ${encoding}`);
  }
}

interface Reader {
  readonly text: string;
  readonly fail: Fail;
  /** The token read last, the one before it, where the former starts and where it ends. */
  token: string;
  previous: string;
  from: number;
  at: number;
}

// a token, or nothing where the text ends or holds what no header needs (escapes, floats); L is Python 2's long
const tokenPattern = /[ \t\r\n\f]*('[^'\\\n]*'|"[^"\\\n]*"|-?(?:0|[1-9]\d*)L?|[A-Za-z_]+|[{}()[\],:])?/y;

function parseHeader(text: string, fail: Fail): { descr: string; fortranOrder: boolean; shape: number[] } {
  const reader: Reader = { text, fail, token: "", previous: "", from: 0, at: 0 };
  const fields: { descr?: string; fortran_order?: boolean; shape?: number[] } = {};
  expect(reader, "{");
  for (let token = next(reader); token !== "}"; token = nextItem(reader, "}")) {
    const key = unquote(reader);
    if (Object.hasOwn(fields, key)) throw fail(`bad header: key '${key}' is given twice`);
    expect(reader, ":");
    next(reader);
    if (key === "descr") fields.descr = descrToken(reader);
    else if (key === "fortran_order") fields.fortran_order = booleanToken(reader);
    else if (key === "shape") fields.shape = readShape(reader);
    else throw fail(`bad header: key ${show(key)} is not one of 'descr', 'fortran_order', 'shape'`);
  }
  if (next(reader) !== "" || reader.at < text.length) throw unexpected(reader, "nothing more");
  const { descr, fortran_order: fortranOrder, shape } = fields;
  if (descr === undefined) throw fail("bad header: no 'descr'");
  if (fortranOrder === undefined) throw fail("bad header: no 'fortran_order'");
  if (shape === undefined) throw fail("bad header: no 'shape'");
  return { descr, fortranOrder, shape };
}

function descrToken(reader: Reader): string {
  if (reader.token === "[") throw reader.fail("structured array; save each field on its own: a['field']");
  if (reader.token === "(") throw reader.fail("array of sub-arrays; save a.astype('<f4')");
  return unquote(reader);
}

function booleanToken(reader: Reader): boolean {
  if (reader.token === "True" || reader.token === "False") return reader.token === "True";
  throw unexpected(reader, "True or False");
}

function readShape(reader: Reader): number[] {
  const shape: number[] = [];
  if (reader.token !== "(") throw unexpected(reader, "a tuple");
  for (let token = next(reader); token !== ")"; token = nextItem(reader, ")")) shape.push(dimensionToken(reader));
  // to Python (3) is the number 3
  if (shape.length === 1 && reader.previous !== ",") throw unexpected(reader, "','");
  return shape;
}

function dimensionToken(reader: Reader): number {
  const size = /^\d/.test(reader.token) ? Number.parseInt(reader.token, 10) : Number.NaN;
  if (Number.isSafeInteger(size)) return size;
  throw unexpected(reader, "a dimension from 0 to 2^53 - 1");
}

function unquote(reader: Reader): string {
  if (/^['"]/.test(reader.token)) return reader.token.slice(1, -1);
  throw unexpected(reader, "a string");
}

function expect(reader: Reader, mark: string): void {
  if (next(reader) !== mark) throw unexpected(reader, `'${mark}'`);
}

/** Past the comma to the next item, or to `closing`, which a comma may precede. */
function nextItem(reader: Reader, closing: string): string {
  const token = next(reader);
  if (token === ",") return next(reader);
  if (token === closing) return token;
  throw unexpected(reader, `',' or '${closing}'`);
}

function next(reader: Reader): string {
  tokenPattern.lastIndex = reader.at;
  const [match, token = ""] = tokenPattern.exec(reader.text)!;
  reader.at += match.length;
  reader.from = reader.at - token.length;
  reader.previous = reader.token;
  reader.token = token;
  return token;
}

function unexpected({ text, fail, token, from }: Reader, wanted: string): Error {
  const found = token || text.charAt(from);
  return fail(`bad header: expected ${wanted} at character ${from}, found ${found === "" ? "the end" : show(found)}`);
}

function descrOf(name: string, fail: Fail): NpyDType {
  const [, order = "", kind = "", size = ""] = /^([<>=|]?)([A-Za-z])(.*)$/.exec(name) ?? [];
  // one byte has no order, but some writers (cnpy) state one all the same
  const descr = size === "1" ? `|${kind}1` : name;
  if (Object.hasOwn(npyTypes, descr)) return descr as NpyDType;
  const swapped = `<${kind}${size}`;
  if (order === ">" && Object.hasOwn(npyTypes, swapped)) throw fail(`big-endian numbers; save a.astype('${swapped}')`);
  const why = refusals[kind] ?? `not one of ${Object.keys(npyTypes).join(", ")}; save a.astype('<f4')`;
  throw fail(`data type ${show(name)} is ${why}`);
}

function byteLengthOf(descr: NpyDType, shape: readonly number[], fail: Fail): number {
  let bytes: number = npyTypes[descr];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) throw fail(`'${descr}' ${show(shape)} takes more than 2^53 - 1 bytes`);
  }
  return bytes;
}

/**
 * A .npy file's first bytes, up to the data: version 1.0, or 2.0 where the shape is too long for that. Throws
 * ArgumentError for a type not in `npyTypes` or a shape that is not one.
 */
export function encodeNpyHeader(descr: NpyDType, shape: readonly number[]): Uint8Array {
  if (!Object.hasOwn(npyTypes, descr)) {
    throw new ArgumentError("descr", `must be one of ${Object.keys(npyTypes).join(", ")}, got ${show(descr)}`);
  }
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new ArgumentError("shape", `must hold integers from 0 to 2^53 - 1, got ${show(shape)}`);
  }
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${tuple}), }`;
  return frame(dict, padded(10 + dict.length + 1) - 10 > 0xffff ? 2 : 1);
}

function frame(dict: string, version: 1 | 2): Uint8Array {
  const textStart = version === 1 ? 10 : 12;
  const header = new Uint8Array(padded(textStart + dict.length + 1)).fill(0x20);
  const length = header.byteLength - textStart;
  const view = new DataView(header.buffer);
  header.set([...MAGIC, version, 0]);
  if (version === 1) view.setUint16(8, length, true);
  else view.setUint32(8, length, true);
  header.set(new TextEncoder().encode(dict), textStart);
  header[header.byteLength - 1] = 0x0a;
  return header;
}

/** The data starts at a multiple of 64 bytes, so that a mapped file is aligned for every type. */
function padded(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}

/**
 * Writes a whole file. `data` is the array's bytes, little-endian and row-major. Leaves the sink open. Throws what
 * `encodeNpyHeader` throws, and ArgumentError for data of another length than `shape` takes.
 */
export async function writeNpy(
  sink: ByteSink,
  { descr, shape, data }: { readonly descr: NpyDType; readonly shape: readonly number[]; readonly data: Uint8Array },
): Promise<void> {
  const header = encodeNpyHeader(descr, shape);
  const expected = byteLengthOf(descr, shape, (message) => new ArgumentError("shape", message));
  if (data.byteLength !== expected) {
    throw new ArgumentError("data", `${data.byteLength} bytes; '${descr}' ${show(shape)} takes ${expected}`);
  }
  await sink.write(0, header);
  await sink.write(header.byteLength, data);
}

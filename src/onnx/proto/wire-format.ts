import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { damaged, type FileIndex } from "./file-index.ts";

/** A message as it lies in a file: where its fields start and end. */
export interface Message {
  readonly index: FileIndex;
  readonly start: number;
  readonly end: number;
}

/**
 * A field as it lies in a file: from its tag (`start`) over its payload (`data`) to its end. Numbers of one field that
 * follow each other, as repeated ones do that are not packed, are one of these, with `data` at the last of them.
 */
export interface Field {
  readonly number: number;
  readonly wire: WireType;
  readonly start: number;
  readonly data: number;
  readonly end: number;
}

/** A message of more fields is no model's: a graph of millions of nodes, each of a byte or two. */
const MOST_FIELDS = 4_000_000;

/**
 * The fields of a message, in the file's order.
 *
 * @throws FormatError where the bytes are no fields, or reach beyond the message
 */
export function fieldsOf({ index, start, end }: Message): Field[] {
  const fields: { -readonly [K in keyof Field]: Field[K] }[] = [];
  for (let position = start; position < end; ) {
    const { reader, offset } = index.at(position);
    let number: number;
    let wire: WireType;
    let data: number;
    let stop: number;
    try {
      [number, wire] = reader.tag();
      if (wire === WireType.LengthDelimited) {
        const length = reader.uint32();
        data = offset + reader.pos;
        stop = data + length;
      } else {
        if (wire === WireType.StartGroup || wire === WireType.EndGroup)
          throw new Error("a group has no place in a model");
        data = offset + reader.pos;
        reader.skip(wire, number);
        stop = offset + reader.pos;
      }
    } catch (cause) {
      throw damaged(index.source, position, (cause as Error).message, cause);
    }
    if (stop > end) throw damaged(index.source, position, "a field reaches beyond the message it is in");
    const last = fields.at(-1);
    if (last?.number === number && last.wire === wire && wire !== WireType.LengthDelimited) {
      last.data = data;
      last.end = stop;
    } else {
      fields.push({ number, wire, start: position, data, end: stop });
      if (fields.length > MOST_FIELDS) {
        throw damaged(index.source, start, `a message has more than ${MOST_FIELDS} fields`);
      }
    }
    position = stop;
  }
  return fields;
}

/** The payload of a length-delimited field, as a message. */
export function messageAt(index: FileIndex, field: Field): Message {
  if (field.wire !== WireType.LengthDelimited) {
    throw damaged(index.source, field.start, `field ${field.number} is a number where a message is wanted`);
  }
  return { index, start: field.data, end: field.end };
}

/** A whole number of up to 64 bits, the last where there are several; beyond 2^53 it is rounded. */
/** The messages in all fields of that number. */
export function messagesOf(message: Message, number: number): Message[] {
  return fieldsOf(message).flatMap((field) => (field.number === number ? [messageAt(message.index, field)] : []));
}

export function integerAt(index: FileIndex, field: Field): number {
  if (field.wire !== WireType.Varint) {
    throw damaged(index.source, field.start, `field ${field.number} is not the number it should be`);
  }
  const { reader } = index.at(field.data);
  return Number(reader.int64());
}

/** A repeated whole number, packed or one by one. */
export function integersAt(index: FileIndex, fields: readonly Field[]): number[] {
  return numbersAt(index, fields, (reader) => Number(reader.int64()));
}

/** A repeated float, packed or one by one. */
export function floatsAt(index: FileIndex, fields: readonly Field[]): number[] {
  return numbersAt(index, fields, (reader) => reader.float());
}

function numbersAt(index: FileIndex, fields: readonly Field[], read: (reader: BinaryReader) => number): number[] {
  const values: number[] = [];
  for (const field of fields) {
    const packed = field.wire === WireType.LengthDelimited;
    const reader = new BinaryReader(index.bytes(packed ? field.data : field.start, field.end));
    try {
      while (reader.pos < reader.len) {
        if (!packed) reader.tag();
        values.push(read(reader));
      }
    } catch (cause) {
      throw damaged(index.source, field.start, (cause as Error).message, cause);
    }
  }
  return values;
}

export function textAt(index: FileIndex, field: Field): string {
  const { start, end } = messageAt(index, field);
  return decodeText(index.bytes(start, end));
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Bytes that are no UTF-8 become lone surrogates U+DC80 to U+DCFF, so that no two names become one and none is lost. */
function decodeText(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join("");
  }
}

function encodeText(text: string): Uint8Array {
  // ASCII and lone surrogates only: as decodeText makes them.
  if (!/[\udc80-\udcff]/.test(text) || !/^[\0-\x7f\udc80-\udcff]*$/.test(text)) return encoder.encode(text);
  return Uint8Array.from(text, (c) => c.charCodeAt(0) & 0xff);
}

/** A stretch of a file. */
export interface Span {
  readonly index: FileIndex;
  readonly start: number;
  readonly end: number;
}

/** Bytes yet to be made, of a length that is known. */
export class Pending {
  constructor(readonly byteLength: number) {}
}

/** What a message is made of when it is written: new bytes, stretches of a file, and bytes yet to be made. */
export type Segment = Uint8Array | Span | Pending;

export function isSpan(chunk: Segment): chunk is Span {
  return !(chunk instanceof Uint8Array || chunk instanceof Pending);
}

export function lengthOf(chunks: readonly Segment[]): number {
  return chunks.reduce((sum, chunk) => sum + segmentLength(chunk), 0);
}

export function segmentLength(chunk: Segment): number {
  return isSpan(chunk) ? chunk.end - chunk.start : chunk.byteLength;
}

/** A length-delimited field around chunks. */
export function delimited(number: number, chunks: readonly Segment[]): Segment[] {
  const head = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(lengthOf(chunks)).finish();
  return [head, ...chunks];
}

export function textField(number: number, text: string): Segment[] {
  return delimited(number, [encodeText(text)]);
}

/** Beyond what a number tells exactly there is INT64_MAX, said for "to the end". */
const INT64_MAX = 2n ** 63n - 1n;

export function toInt64(value: number): bigint {
  const exact = BigInt(value);
  return exact > INT64_MAX ? INT64_MAX : exact < -INT64_MAX ? -INT64_MAX - 1n : exact;
}

export function integerField(number: number, value: number): Segment[] {
  return [new BinaryWriter().tag(number, WireType.Varint).int64(toInt64(value)).finish()];
}

export function floatField(number: number, value: number): Segment[] {
  return [new BinaryWriter().tag(number, WireType.Bit32).float(value).finish()];
}

/**
 * A message with the fields of some numbers written anew, where the first of them stood (else at the end), and all
 * others as they lie.
 */
export function rewrite(message: Message, changes: ReadonlyMap<number, readonly Segment[]>): Segment[] {
  const { index } = message;
  const chunks: Segment[] = [];
  const done = new Set<number>();
  for (const { number, start, end } of fieldsOf(message)) {
    const changed = changes.get(number);
    if (changed === undefined) appendSpan(chunks, { index, start, end });
    else if (!done.has(number)) {
      done.add(number);
      for (const chunk of changed) chunks.push(chunk);
    }
  }
  for (const [number, changed] of changes) if (!done.has(number)) for (const chunk of changed) chunks.push(chunk);
  return chunks;
}

/** Stretches that follow each other are written as one. */
function appendSpan(chunks: Segment[], span: Span): void {
  const last = chunks.at(-1);
  if (last && isSpan(last) && last.index === span.index && last.end === span.start)
    chunks[chunks.length - 1] = { ...last, end: span.end };
  else chunks.push(span);
}

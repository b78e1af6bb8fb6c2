/**
 * JSON (RFC 8259) for headers that somebody else wrote. Objects become Maps: keys keep the order of the text ("1" may
 * come before "0"), `__proto__` is a key like any other, and a key given twice is an error, where `JSON.parse` would
 * quietly keep the last.
 */
export type JsonValue = null | boolean | number | string | JsonValue[] | Map<string, JsonValue>;

/** Makes the error to throw, from what is wrong and the keys that lead there from the top. */
export type JsonFail = (message: string, path: readonly string[]) => Error;

/** Reading recurses, and a header of brackets only must not overflow the stack. serde_json's limit. */
const MAX_DEPTH = 128;

/** Millions of brackets are gigabytes of arrays. As many values may a text have, or a member that is converted. */
const MAX_VALUES = 8_000_000;
const MAX_MEMBER_VALUES = 1_000_000;

/** How much of a value from a file an error message repeats, in characters. */
const MAX_SHOWN = 80;

interface Reader {
  readonly text: string;
  readonly fail: JsonFail;
  readonly path: string[];
  at: number;
  depth: number;
  /** How many values there may be from here on. */
  left: number;
}

/** The value `text` holds; white space may surround it. Throws what `fail` makes. */
export function parseJson(text: string, fail: JsonFail): JsonValue {
  return readAll(text, fail, MAX_VALUES, readValue);
}

/**
 * The members of the object that `text` holds, each made into what `convert` makes of it as soon as it is read: of a long
 * text only what is kept needs memory, and what `convert` throws comes before the rest is read. Throws what `fail` makes.
 */
export function parseMembers<T>(
  text: string,
  fail: JsonFail,
  convert: (key: string, value: JsonValue) => T,
): Map<string, T> {
  return readAll(text, fail, MAX_MEMBER_VALUES, (reader) => {
    skipSpace(reader);
    if (reader.text[reader.at] !== "{") throw unexpected(reader, "an object");
    const convertNext = (key: string, value: JsonValue) => {
      reader.left = MAX_MEMBER_VALUES;
      return convert(key, value);
    };
    return readNested(reader, () => readObject(reader, convertNext));
  });
}

function readAll<T>(text: string, fail: JsonFail, left: number, read: (reader: Reader) => T): T {
  const reader: Reader = { text, fail, path: [], at: 0, depth: 0, left };
  const value = read(reader);
  skipSpace(reader);
  if (reader.at < text.length) throw unexpected(reader, "nothing more");
  return value;
}

function readValue(reader: Reader): JsonValue {
  if (--reader.left < 0) throw reader.fail("holds too many values", reader.path);
  skipSpace(reader);
  switch (reader.text[reader.at]) {
    case "{":
      return readNested(reader, () => readObject(reader, keep));
    case "[":
      return readNested(reader, readArray);
    case '"':
      return readString(reader);
    case "t":
      return readWord(reader, "true", true);
    case "f":
      return readWord(reader, "false", false);
    case "n":
      return readWord(reader, "null", null);
    default:
      return readNumber(reader);
  }
}

function readNested<T>(reader: Reader, read: (reader: Reader) => T): T {
  if (++reader.depth > MAX_DEPTH) throw reader.fail(`nested more than ${MAX_DEPTH} deep`, reader.path);
  reader.at++;
  const value = read(reader);
  reader.depth--;
  return value;
}

function keep(_key: string, value: JsonValue): JsonValue {
  return value;
}

function readObject<T>(reader: Reader, convert: (key: string, value: JsonValue) => T): Map<string, T> {
  const object = new Map<string, T>();
  if (take(reader, "}")) return object;
  do {
    skipSpace(reader);
    const key = readString(reader);
    reader.path.push(key);
    if (object.has(key)) throw reader.fail(`key ${show(key)} is given twice`, reader.path);
    if (!take(reader, ":")) throw unexpected(reader, '":"');
    object.set(key, convert(key, readValue(reader)));
    reader.path.pop();
  } while (take(reader, ","));
  if (!take(reader, "}")) throw unexpected(reader, '"," or "}"');
  return object;
}

function readArray(reader: Reader): JsonValue {
  const array: JsonValue[] = [];
  if (take(reader, "]")) return array;
  do array.push(readValue(reader));
  while (take(reader, ","));
  if (!take(reader, "]")) throw unexpected(reader, '"," or "]"');
  return array;
}

function readString(reader: Reader): string {
  const { text, at: start } = reader;
  if (text[start] !== '"') throw unexpected(reader, "a string");
  let escaped = false;
  for (reader.at++; text[reader.at] !== '"'; reader.at++) {
    // past the end the code is NaN, which is not >= 0x20 either
    if (!(text.charCodeAt(reader.at) >= 0x20)) throw unexpected(reader, "a string's end");
    if (text[reader.at] !== "\\") continue;
    escaped = true;
    reader.at++;
  }
  reader.at++;
  return escaped ? unescapeString(reader, start) : text.slice(start + 1, reader.at - 1);
}

function unescapeString(reader: Reader, start: number): string {
  try {
    const value = JSON.parse(reader.text.slice(start, reader.at)) as string;
    // half a surrogate pair has no UTF-8 form: a name that could be read but not written
    if (!/\p{Surrogate}/u.test(value)) return value;
  } catch {
    // refused below, where it has a position
  }
  throw reader.fail(`bad escape in the string at character ${start}`, reader.path);
}

function readWord(reader: Reader, word: string, value: boolean | null): JsonValue {
  if (!reader.text.startsWith(word, reader.at)) throw unexpected(reader, "a value");
  reader.at += word.length;
  return value;
}

const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

function readNumber(reader: Reader): number {
  numberPattern.lastIndex = reader.at;
  const digits = numberPattern.exec(reader.text)?.[0];
  if (digits === undefined) throw unexpected(reader, "a value");
  reader.at += digits.length;
  return Number(digits) + 0; // so that -0 is 0
}

function take(reader: Reader, mark: string): boolean {
  skipSpace(reader);
  if (reader.text[reader.at] !== mark) return false;
  reader.at++;
  return true;
}

const spacePattern = /[ \t\n\r]*/y;

function skipSpace(reader: Reader): void {
  if (reader.text.charCodeAt(reader.at) > 0x20) return; // nearly always
  spacePattern.lastIndex = reader.at;
  reader.at += spacePattern.exec(reader.text)![0].length;
}

function unexpected(reader: Reader, wanted: string): Error {
  const code = reader.text.codePointAt(reader.at);
  const found = code === undefined ? "the end" : show(String.fromCodePoint(code));
  return reader.fail(`expected ${wanted} at character ${reader.at}, found ${found}`, reader.path);
}

/** `value` as an error message repeats it: JSON, on one line, cut where it is long; a missing value is "nothing". */
export function show(value: JsonValue | readonly number[] | undefined): string {
  if (value === undefined) return "nothing";
  if (value instanceof Map) return "an object";
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

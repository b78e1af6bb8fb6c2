/**
 * Every error this library throws on purpose. Each says what was given and what is allowed, in one line; `tag` tells the
 * kinds apart where `instanceof` cannot, as with two copies of the package, and `code` says more exactly what is wrong
 * (docs/errors.md lists the codes).
 */
import { option, textOf, type Words, words, wordsOf } from "./messages.ts";

export type ErrorTag = "argument" | "non-finite" | "format" | "file" | "memory" | "worker" | "unchanged";

export type ErrorCode =
  | "invalid-argument"
  | "unknown-option"
  | "no-match"
  | "opset-too-low"
  | "non-finite"
  | "out-of-range"
  | "invalid-file"
  | "already-quantized"
  | "unsupported-operator"
  | "file-access"
  | "not-found"
  | "exists"
  | "out-of-memory"
  | "worker-failed"
  | "unchanged";

interface CodedOptions extends ErrorOptions {
  readonly code?: ErrorCode | undefined;
}

export abstract class WasmQuantError extends Error {
  abstract readonly tag: ErrorTag;

  constructor(
    /** The message in parts, in which options stand by name and value. */
    readonly words: Words,
    readonly code: ErrorCode,
    options?: ErrorOptions,
  ) {
    super(textOf(words), options);
  }
}

/** A call's argument (or a command's option) is not one of the allowed ones. */
export class ArgumentError extends WasmQuantError {
  override readonly name = "ArgumentError";
  readonly tag = "argument";
  /** What is wrong with it. */
  readonly detail: string;

  constructor(
    /** Which argument, as its caller would write it: `axis`, `shape`, `scale`. */
    readonly argument: string,
    /** What is wrong with it. */
    detail: string | Words,
    { code = "invalid-argument", ...options }: CodedOptions = {},
  ) {
    super([option(argument), ": ", ...wordsOf(detail)], code, options);
    this.detail = textOf(detail);
  }

  /** `detail` in parts. */
  get detailWords(): Words {
    return this.words.slice(2); // behind the argument and a colon
  }
}

/** A range was asked of data that holds NaN or ±Infinity. */
export class NonFiniteError extends WasmQuantError {
  override readonly name = "NonFiniteError";
  readonly tag = "non-finite";

  constructor(
    /** The offending value: NaN, Infinity or -Infinity. */
    readonly value: number,
    /** Flat index of the first such value. */
    readonly index: number,
    /** The tensor's name, where it has one. */
    readonly tensor?: string,
  ) {
    const which = tensor === undefined ? "tensor" : `tensor ${JSON.stringify(tensor)}`;
    const advice = `a range needs finite values (nonFinite: "ignore" leaves such values out)`;
    super([`${which} holds ${value} at flat index ${index}; ${advice}`], "non-finite");
  }
}

/** A file is not what its name says, or does not keep to its format. */
export class FormatError extends WasmQuantError {
  override readonly name = "FormatError";
  readonly tag = "format";

  constructor(
    /** The file, as the caller named it. */
    readonly file: string,
    message: string | Words,
    /** The tensor the complaint is about, where it is about one. */
    readonly tensor?: string,
    { code = "invalid-file", ...options }: CodedOptions = {},
  ) {
    super(words`${file}: ${about(tensor)}${wordsOf(message)}`, code, options);
  }
}

/** A file cannot be opened, read or written. */
export class FileError extends WasmQuantError {
  override readonly name = "FileError";
  readonly tag = "file";

  constructor(
    /** The file, as the caller named it. */
    readonly file: string,
    message: string,
    { code = "file-access", ...options }: CodedOptions = {},
  ) {
    super([`${file}: `, message], code, options);
  }

  /** What is wrong with it. */
  get detail(): string {
    return textOf(this.words.slice(1)); // behind the file and a colon
  }
}

function about(tensor: string | undefined): string {
  return tensor === undefined ? "" : `tensor ${JSON.stringify(tensor)}: `;
}

/** Options as they are given to the function that threw; undefined stands for one to leave out. */
type Remedy = Readonly<Record<string, unknown>>;

/** A run would change nothing: no tensor of the file can be quantized or converted with these options. */
export class UnchangedError extends WasmQuantError {
  override readonly name = "UnchangedError";
  readonly tag = "unchanged";
  /** Options that do change it, to be given besides or instead; undefined where none were found. */
  readonly remedy: Remedy | undefined;
  /** Whether `allowUnchanged` copies the file. */
  readonly isCopied: boolean;

  constructor(
    /** The file, as the caller named it. */
    readonly file: string,
    /** How many tensors there are, and why none of them changes. */
    readonly detail: string,
    { remedy, isCopied = true }: { readonly remedy?: Remedy | undefined; readonly isCopied?: boolean } = {},
  ) {
    const copy = words`; ${option("allowUnchanged", true)} copies it as it is`;
    const advice = remedy ? [`; try ${inline(remedy)}`] : isCopied ? copy : [];
    super(words`${file}: ${detail}${advice}`, "unchanged");
    this.remedy = remedy;
    this.isCopied = isCopied;
  }
}

/** Options as one would write them in a call. */
function inline(options: Remedy): string {
  const names = Object.keys(options);
  const given = names.filter((name) => options[name] !== undefined);
  const entries = given.map((name) => `${name}: ${JSON.stringify(options[name])}`);
  const without = names.filter((name) => options[name] === undefined);
  return [
    ...(given.length > 0 ? [`{ ${entries.join(", ")} }`] : []),
    ...(without.length > 0 ? [`without ${without.join(", ")}`] : []),
  ].join(" ");
}

/** Linear memory (4 GiB at the most) or a resident tensor that is gone. */
export class MemoryError extends WasmQuantError {
  override readonly name = "MemoryError";
  readonly tag = "memory";

  constructor(message = "", options?: ErrorOptions) {
    super([message], "out-of-memory", options);
  }
}

/** A worker ended before its work did, was ended, or did not start. */
export class WorkerError extends WasmQuantError {
  override readonly name = "WorkerError";
  readonly tag = "worker";

  constructor(
    /** What is known of it, and what to do. */
    readonly detail: string,
    /** What it was at. */
    readonly tensor?: string,
    options?: ErrorOptions,
  ) {
    super([`${about(tensor)}${detail}`], "worker-failed", options);
  }
}

interface ErrorOf {
  argument: ArgumentError;
  "non-finite": NonFiniteError;
  format: FormatError;
  file: FileError;
  memory: MemoryError;
  worker: WorkerError;
  unchanged: UnchangedError;
}

const tags: ReadonlySet<unknown> = new Set<ErrorTag>([
  ...(["argument", "non-finite", "format", "file", "memory", "worker", "unchanged"] as const),
]);

/** Whether `error` is one of this library's, and of the kind `tag` if one is given. */
export function isWasmQuantError<T extends ErrorTag = ErrorTag>(error: unknown, tag?: T): error is ErrorOf[T] {
  if (!(error instanceof Error) || !("tag" in error)) return false;
  return tag === undefined ? tags.has(error.tag) : error.tag === tag;
}

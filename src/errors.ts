/**
 * Every error this library throws on purpose. Each says what was given and what is allowed, in one line; `tag` tells the
 * kinds apart where `instanceof` cannot, as with two copies of the package.
 */
export type ErrorTag = "argument" | "non-finite" | "format" | "file" | "memory" | "worker" | "unchanged";

export abstract class WasmQuantError extends Error {
  abstract readonly tag: ErrorTag;
}

/** A call's argument (or a command's option) is not one of the allowed ones. */
export class ArgumentError extends WasmQuantError {
  override readonly name = "ArgumentError";
  readonly tag = "argument";

  constructor(
    /** Which argument, as its caller would write it: `axis`, `shape`, `scale`. */
    readonly argument: string,
    /** What is wrong with it. */
    readonly detail: string,
    options?: ErrorOptions,
  ) {
    super(`${argument}: ${detail}`, options);
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
    super(
      `${tensor === undefined ? "tensor" : `tensor ${JSON.stringify(tensor)}`} holds ${value} at flat index ${index}; ` +
        `a range needs finite values (nonFinite: "ignore" leaves such values out)`,
    );
  }
}

/** A file is not what its name says, or does not keep to its format. */
export class FormatError extends WasmQuantError {
  override readonly name = "FormatError";
  readonly tag = "format";

  constructor(
    /** The file, as the caller named it. */
    readonly file: string,
    message: string,
    /** The tensor the complaint is about, where it is about one. */
    readonly tensor?: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${tensor === undefined ? "" : `tensor ${JSON.stringify(tensor)}: `}${message}`, options);
  }
}

/** A file cannot be opened, read or written. */
export class FileError extends WasmQuantError {
  override readonly name = "FileError";
  readonly tag = "file";
  /** `exists` where it is there already and was not to be replaced. */
  readonly reason: "exists" | undefined;

  constructor(
    /** The file, as the caller named it. */
    readonly file: string,
    message: string,
    options?: ErrorOptions & { readonly reason?: "exists" },
  ) {
    super(`${file}: ${message}`, options);
    this.reason = options?.reason;
  }
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
    const copy = isCopied ? "; allowUnchanged: true copies it as it is" : "";
    super(`${file}: ${detail}${remedy ? `; try ${inline(remedy)}` : copy}`);
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
    super(`${tensor === undefined ? "" : `tensor ${JSON.stringify(tensor)}: `}${detail}`, options);
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

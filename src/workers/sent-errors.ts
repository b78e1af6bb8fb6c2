import {
  ArgumentError,
  type ErrorCode,
  FileError,
  FormatError,
  isWasmQuantError,
  MemoryError,
  NonFiniteError,
  WorkerError,
} from "../errors.ts";
import type { Words } from "../messages.ts";

/** An error as plain data: structured clone keeps neither its class nor its fields. */
export interface PlainError {
  readonly message: string;
  readonly stack?: string | undefined;
  readonly code?: ErrorCode | undefined;
  readonly words?: Words | undefined;
  /** What its class is made of; undefined for an error that is not the library's own. */
  readonly of?: Origin | undefined;
}

type Origin =
  | { readonly tag: "argument"; readonly argument: string; readonly detail: Words }
  | { readonly tag: "non-finite"; readonly value: number; readonly index: number; readonly tensor?: string | undefined }
  | { readonly tag: "format"; readonly file: string; readonly tensor?: string | undefined }
  | { readonly tag: "file"; readonly file: string }
  | { readonly tag: "memory" }
  | { readonly tag: "worker"; readonly detail: string; readonly tensor?: string | undefined };

export function plainError(error: unknown): PlainError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  if (!isWasmQuantError(error)) return { message, stack };
  const { code, words } = error;
  return { message, stack, code, words, of: originOf(error) };
}

function originOf(error: unknown): Origin | undefined {
  if (isWasmQuantError(error, "argument")) {
    return { tag: "argument", argument: error.argument, detail: error.detailWords };
  }
  if (isWasmQuantError(error, "non-finite")) {
    return { tag: "non-finite", value: error.value, index: error.index, tensor: error.tensor };
  }
  if (isWasmQuantError(error, "format")) return { tag: "format", file: error.file, tensor: error.tensor };
  if (isWasmQuantError(error, "file")) return { tag: "file", file: error.file };
  if (isWasmQuantError(error, "worker")) return { tag: "worker", detail: error.detail, tensor: error.tensor };
  return isWasmQuantError(error, "memory") ? { tag: "memory" } : undefined;
}

/** The error it was, with its stack as the cause's. */
export function revivedError({ message, stack, code, words, of }: PlainError): Error {
  const error = of ? bare(of) : new Error();
  error.message = message;
  if (words) Object.assign(error, { words, code });
  if (stack !== undefined) error.stack = stack;
  error.cause = Object.assign(new Error(message), { stack });
  return error;
}

function bare(origin: Origin): Error {
  switch (origin.tag) {
    case "argument":
      return new ArgumentError(origin.argument, origin.detail);
    case "non-finite":
      return new NonFiniteError(origin.value, origin.index, origin.tensor);
    case "format":
      return new FormatError(origin.file, "", origin.tensor);
    case "file":
      return new FileError(origin.file, "");
    case "memory":
      return new MemoryError();
    case "worker":
      return new WorkerError(origin.detail, origin.tensor);
  }
}

/** Of a worker that is no more. */
export function workerError(cause: unknown): WorkerError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const code = /exitCode:? *`?(\d+)/i.exec(message)?.[1];
  const [first = ""] = message.replace(/^Workerpool Worker error: /, "").split("\n", 1);
  const reason = code === undefined ? first : `exit code ${code}`;
  const detail = `a worker ended before its work did (${reason}); try fewer threads, or less memory for each`;
  return new WorkerError(detail, undefined, { cause });
}

/** Of a browser's worker, when none has done anything yet: browsers do not say what is wrong. */
export function unstartedError(script: string, cause: unknown): WorkerError {
  const detail = `no worker can be started from ${script}; see that it is served, as JavaScript, and that the page's worker-src allows it`;
  return new WorkerError(detail, undefined, { cause });
}

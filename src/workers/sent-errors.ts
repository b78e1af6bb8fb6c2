import {
  ArgumentError,
  FileError,
  FormatError,
  isWasmQuantError,
  MemoryError,
  NonFiniteError,
  WorkerError,
} from "../errors.ts";

/** An error as plain data: structured clone keeps neither its class nor its fields. */
export type PlainError = { readonly message: string; readonly stack?: string | undefined } & (
  | { readonly tag: "argument"; readonly argument: string; readonly detail: string }
  | { readonly tag: "non-finite"; readonly value: number; readonly index: number; readonly tensor?: string | undefined }
  | { readonly tag: "format"; readonly file: string; readonly tensor?: string | undefined }
  | { readonly tag: "file"; readonly file: string }
  | { readonly tag: "memory" }
  | { readonly tag: "unknown" }
);

export function plainError(error: unknown): PlainError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const common = { message, stack };
  if (isWasmQuantError(error, "argument")) {
    return { ...common, tag: "argument", argument: error.argument, detail: error.detail };
  }
  if (isWasmQuantError(error, "non-finite")) {
    return { ...common, tag: "non-finite", value: error.value, index: error.index, tensor: error.tensor };
  }
  if (isWasmQuantError(error, "format")) {
    return { ...common, tag: "format", file: error.file, tensor: error.tensor };
  }
  if (isWasmQuantError(error, "file")) return { ...common, tag: "file", file: error.file };
  if (isWasmQuantError(error, "memory")) return { ...common, tag: "memory" };
  return { ...common, tag: "unknown" };
}

/** The error it was, with its stack as the cause's. */
export function revivedError(plain: PlainError): Error {
  const { message, stack } = plain;
  const error = bare(plain);
  error.message = message;
  if (stack !== undefined) error.stack = stack;
  error.cause = Object.assign(new Error(message), { stack });
  return error;
}

function bare(plain: PlainError): Error {
  switch (plain.tag) {
    case "argument":
      return new ArgumentError(plain.argument, plain.detail);
    case "non-finite":
      return new NonFiniteError(plain.value, plain.index, plain.tensor);
    case "format":
      return new FormatError(plain.file, "", plain.tensor);
    case "file":
      return new FileError(plain.file, "");
    case "memory":
      return new MemoryError();
    case "unknown":
      return new Error();
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

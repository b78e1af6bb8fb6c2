import { FileError } from "../errors.ts";

/** By the names of DOMExceptions. */
const reasons: Readonly<Record<string, string>> = {
  NotFoundError: "no such file or folder",
  NotReadableError: "cannot be read",
  NotAllowedError: "permission denied",
  SecurityError: "permission denied",
  QuotaExceededError: "no space left in the browser's storage",
  NoModificationAllowedError: "is being written to elsewhere; close other pages that use it",
  AbortError: "the browser's safety check refused it",
};

/** Turns a browser's errors into one line about the file as the caller named it; `special` goes before the usual reasons. */
export async function explain<T>(
  path: string,
  action: () => Promise<T>,
  special: Readonly<Record<string, string>> = {},
): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const { name = "" } = (cause ?? {}) as Partial<Error>;
    const reason = special[name] ?? reasons[name];
    if (reason === undefined && !(cause instanceof DOMException)) throw cause;
    throw new FileError(path, reason ?? `cannot be read or written (${name})`, {
      cause,
      code: name === "NotFoundError" ? "not-found" : undefined,
    });
  }
}

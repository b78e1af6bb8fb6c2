import { FileError, isWasmQuantError } from "../errors.ts";

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  ENOTDIR: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "permission denied: the file system is read-only",
  ENOSPC: "no space left on the disk",
  EDQUOT: "no space left: the quota is used up",
  EFBIG: "longer than the system allows files to be",
  EIO: "the device fails to read or write",
  EMFILE: "too many open files",
  ENAMETOOLONG: "the name is too long",
};

/** Turns the system's errors into one line about the file as the caller named it. */
export async function explain<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw explained(path, cause);
  }
}

/** The same at once. */
export function explainNow<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw explained(path, cause);
  }
}

function explained(path: string, cause: unknown): unknown {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === undefined || isWasmQuantError(cause)) return cause;
  const kind = code === "ENOENT" || code === "ENOTDIR" ? "not-found" : undefined;
  return new FileError(path, reasons[code] ?? `cannot be read or written (${code})`, { cause, code: kind });
}

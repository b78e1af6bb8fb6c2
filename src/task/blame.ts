import { ArgumentError, FormatError, NonFiniteError } from "../errors.ts";

/** Runs something whose errors know the tensor at best, and names the file and the tensor. */
export function nameFile<T>(file: string, tensor: string | undefined, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof NonFiniteError) {
      throw new FormatError(file, `holds ${cause.value} at flat index ${cause.index}; exclude it`, tensor, { cause });
    }
    if (cause instanceof ArgumentError) {
      // That it is the data that will not do goes without saying.
      throw new FormatError(file, cause.argument === "data" ? cause.detail : cause.message, tensor, { cause });
    }
    throw cause;
  }
}

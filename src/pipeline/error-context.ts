import { ArgumentError, FormatError, NonFiniteError } from "../errors.ts";

/** Runs something whose errors know the tensor at best, and names the file and the tensor. */
export function withErrorContext<T>(file: string, tensor: string | undefined, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw named(file, tensor, cause);
  }
}

/** The same for what takes time. */
export async function withErrorContextAsync<T>(
  file: string,
  tensor: string | undefined,
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw named(file, tensor, cause);
  }
}

function named(file: string, tensor: string | undefined, cause: unknown): unknown {
  if (cause instanceof NonFiniteError) {
    return new FormatError(file, `holds ${cause.value} at flat index ${cause.index}; exclude it`, tensor, { cause });
  }
  if (cause instanceof ArgumentError) {
    // That it is the data that will not do goes without saying.
    return new FormatError(file, cause.argument === "data" ? cause.detail : cause.message, tensor, { cause });
  }
  return cause;
}

import { ArgumentError, FormatError, NonFiniteError } from "../errors.ts";
import { EXCLUDE_IT, words } from "../messages.ts";

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
    const message = words`holds ${String(cause.value)} at flat index ${cause.index}; ${EXCLUDE_IT}`;
    return new FormatError(file, message, tensor, { cause, code: cause.code });
  }
  if (cause instanceof ArgumentError) {
    // That it is the data that will not do goes without saying.
    const message = cause.argument === "data" ? cause.detailWords : cause.words;
    return new FormatError(file, message, tensor, { cause, code: cause.code });
  }
  return cause;
}

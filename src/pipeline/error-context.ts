import { ArgumentError, FormatError, NonFiniteError } from "../errors.ts";
import { EXCLUDE_IT, words } from "../messages.ts";

/** Names the file and the tensor in the errors of `work`, which know the tensor at best. */
export async function withErrorContext<T>(file: string, tensor: string | undefined, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw inContext(cause, file, tensor);
  }
}

/** An error that names the file and the tensor that it is about. */
export function inContext(cause: unknown, file: string, tensor?: string): unknown {
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

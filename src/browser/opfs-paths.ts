import { FileError } from "../errors.ts";

/** The names that lead from a folder to a file in it or below, be they separated as on Windows or as elsewhere. */
export function stepsOf(path: string): string[] {
  return path.split(/[\\/]/).filter((step) => step !== "" && step !== ".");
}

/**
 * The names that lead from `folder` to a file in it or below.
 *
 * @throws FileError when the path leads out of the folder or names no file
 */
export function stepsWithin(path: string, folder: string): string[] {
  const steps = stepsOf(path);
  if (/^([\\/]|[a-z]:)/i.test(path) || steps.includes("..") || path.includes("\0"))
    throw new FileError(path, `leads out of ${folder}`);
  if (steps.length === 0) throw new FileError(path, "names no file");
  return steps;
}

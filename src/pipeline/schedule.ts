import { FileError, WorkerError } from "../errors.ts";
import type { Tracker } from "./progress.ts";
import { type Files, Turns, type Work, type Workers } from "./work.ts";

/** Units under way for each worker: one is done, one has been sent. */
const DEPTH = 2;

/** Gives units to workers in order, a few ahead of them; tells of progress, and stops where one fails or somebody asks. */
export class Schedule {
  readonly #turns: Turns;
  #failed = false;

  /** @param tolerates errors after which the others are done all the same */
  constructor(
    private readonly workers: Workers,
    private readonly tracker: Tracker,
    private readonly tolerates: (error: unknown) => boolean = () => false,
  ) {
    this.#turns = new Turns(DEPTH * workers.atOnce);
  }

  /**
   * Has a unit done.
   *
   * @param name the tensor it is part of
   * @param bytes that are dealt with then
   */
  run<Unit, Result>(name: string, bytes: number, work: Work<Unit, Result>, files: Files, unit: Unit): Promise<Result> {
    return this.#turns.take(async () => {
      if (this.#failed) throw new Skipped();
      try {
        await this.tracker.at(name);
        const result = await this.workers.run(work, files, unit);
        this.tracker.advance(bytes);
        return result;
      } catch (error) {
        this.#failed ||= !this.tolerates(error);
        throw named(error, name);
      }
    });
  }
}

/** The error with the tensor it came up at: files and workers know of none. */
function named(error: unknown, tensor: string): unknown {
  if (error instanceof WorkerError) return new WorkerError(error.detail, tensor, { cause: error });
  if (!(error instanceof FileError) || tensor === "") return error;
  const { file, detail, code } = error;
  return new FileError(file, `${detail} (at tensor ${JSON.stringify(tensor)})`, { code, cause: error });
}

/** Why a unit was not done: another one failed. */
class Skipped extends Error {}

/** The results, once all are there. Of several that fail the first in order tells what is wrong, once all have ended. */
export async function allInOrder<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises);
  const failures = settled.flatMap((each) => (each.status === "rejected" ? [each.reason as unknown] : []));
  if (failures.length > 0) throw failures.find((reason) => !(reason instanceof Skipped)) ?? failures[0];
  return settled.map((each) => (each as PromiseFulfilledResult<T>).value);
}

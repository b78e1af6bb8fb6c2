import type { Engine } from "../engine/engine.ts";
import { ArgumentError } from "../errors.ts";
import { type Workers, workersOn } from "./work.ts";

/** Where a long task is: told before each tensor, now and then while one is copied, and at the end. */
export interface TaskProgress {
  /** Bytes of tensors dealt with, of all there are. */
  readonly done: number;
  readonly total: number;
  /** The tensor at hand; empty at the end. */
  readonly tensor: string;
}

/** Default of `memory`: 256 MiB. */
export const DEFAULT_MEMORY = 1 << 28;

/** The names of these options, for those who check what they are given. */
export const taskOptions = ["onProgress", "signal", "workers", "memory"] as const satisfies (keyof TaskOptions)[];

export interface TaskOptions {
  /**
   * Those who do the work, or what chooses them by how many bytes are to be read. Default: this thread. The bytes that
   * come out are the same.
   */
  readonly workers?: Workers | ((bytes: number) => Workers | undefined) | undefined;
  /** Bytes that tensors and what is made of them may take at once, of all workers together. Default: 256 MiB. */
  readonly memory?: number | undefined;
  /** May return a promise, which is waited for: a chance to draw, or to hear of a signal. */
  readonly onProgress?: ((progress: TaskProgress) => void | Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Those who do a task of so many bytes. @throws ArgumentError for something that is no pool */
export function workersFor({ workers }: TaskOptions, engine: Engine, bytes: number): Workers {
  const chosen = typeof workers === "function" ? workers(bytes) : workers;
  if (chosen === undefined) return workersOn(engine);
  if (typeof chosen?.run === "function" && chosen.atOnce >= 1) return chosen;
  throw new ArgumentError("workers", "a pool is wanted, as createWorkerPool() makes one");
}

/** Linear memory ends at 4 GiB, and two tensors may take turns in it. */
const MOST_SHARE = 2 ** 30;

/** Bytes that one worker may take. @throws ArgumentError unless `memory` is a number of bytes above 0 */
export function shareOf({ memory = DEFAULT_MEMORY }: TaskOptions, { atOnce }: Workers): number {
  if (Number.isSafeInteger(memory) && memory > 0) return Math.min(memory / atOnce, MOST_SHARE);
  throw new ArgumentError("memory", `${String(memory)} given; a whole number of bytes above 0 is allowed`);
}

export interface Tracker {
  /** Tells where things are, and stops when asked to. */
  at(tensor: string): Promise<void>;
  /** Counts bytes that are dealt with. */
  advance(bytes: number): void;
}

/** @throws ArgumentError when `onProgress` or `signal` is something else */
export function trackerOf({ onProgress, signal }: TaskOptions, total: number): Tracker {
  if (onProgress !== undefined && typeof onProgress !== "function")
    throw new ArgumentError("onProgress", "a function is wanted");
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new ArgumentError("signal", "an AbortSignal is wanted");
  let done = 0;
  return {
    async at(tensor) {
      signal?.throwIfAborted();
      await onProgress?.({ done, total, tensor });
      signal?.throwIfAborted();
    },
    advance(bytes) {
      done += bytes;
    },
  };
}

import type { Engine } from "../engine/engine.ts";
import type { ByteSink, ByteSource } from "../formats/byte-source.ts";

/** The files that a piece of work reads and writes, which name them by their place here. */
export interface Files {
  readonly sources: readonly ByteSource[];
  readonly sinks: readonly Pick<ByteSink, "write" | "handle">[];
}

/** Bytes `start` to `end` of the source at `file`. */
export interface FileSpan {
  readonly file: number;
  readonly start: number;
  readonly end: number;
}

/**
 * A kind of work that any thread can do. Units are plain data, as are results: they are sent to another thread by structured
 * clone. A unit gives the same result wherever it is done.
 */
export interface Work<Unit, Result> {
  /** By which other threads know it. */
  readonly name: string;
  /** What a unit reads of the sources. */
  reads(unit: Unit): readonly FileSpan[];
  /** Bytes of linear memory that a unit takes at the most. */
  room(unit: Unit): number;
  /** A unit for another thread: without what it has in common with others and does not need. Default: the unit as it is. */
  sent?(unit: Unit): unknown;
  run(engine: Engine, files: Files, unit: Unit): Promise<Result>;
}

/** Those who do the work: one thread or several. They serve any number of tasks, also at the same time. */
export interface Workers {
  /** How many units are done at the same time: what memory is shared by. */
  readonly atOnce: number;
  /** @internal Has a unit done, when its turn comes. */
  run<Unit, Result>(work: Work<Unit, Result>, files: Files, unit: Unit): Promise<Result>;
}

/** Units that take turns on one thread: while one is computed, the other is being read or written. */
const INTERLEAVED = 2;

const alone = new WeakMap<Engine, Workers>();

/** The engine at hand, on this thread. */
export function workersOn(engine: Engine): Workers {
  const workers = alone.get(engine) ?? onThisThread(engine);
  alone.set(engine, workers);
  return workers;
}

function onThisThread(engine: Engine): Workers {
  const turns = new Turns(INTERLEAVED);
  const memory = new Room(engine);
  return {
    atOnce: INTERLEAVED,
    run: (work, files, unit) =>
      turns.take(() => memory.within(INTERLEAVED * work.room(unit), () => work.run(engine, files, unit))),
  };
}

/** Sees to it that linear memory need not grow while something runs in it: what is being read to it would be lost. */
class Room {
  #size = 0;
  #running = 0;
  #waiting: (() => void)[] = [];

  constructor(private readonly engine: Engine) {}

  /**
   * Runs `action` once there are so many bytes.
   *
   * @throws MemoryError
   */
  async within<T>(bytes: number, action: () => Promise<T>): Promise<T> {
    while (this.#running > 0 && bytes > this.#size) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    // Residents may have come since the last time.
    if (this.#running === 0) {
      this.engine.ensureRoom(bytes);
      this.#size = bytes;
    }
    this.#running++;
    try {
      return await action();
    } finally {
      this.#running--;
      if (this.#running === 0) for (const wake of this.#waiting.splice(0)) wake();
    }
  }
}

/** Lets so many in at a time, in the order they come. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#free = size;
  }

  /** Runs `action` in its turn. */
  async take<T>(action: () => Promise<T>): Promise<T> {
    await this.#enter();
    try {
      return await action();
    } finally {
      this.#leave();
    }
  }

  #enter(): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}

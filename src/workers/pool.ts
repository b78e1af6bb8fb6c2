import type workerpool from "workerpool";
import type { Pool } from "workerpool";
import { ArgumentError, WorkerError } from "../errors.ts";
import { type ByteSource, readExactly } from "../formats/byte-source.ts";
import { type FileSpan, type Files, Turns, type Work, type Workers } from "../pipeline/work.ts";
import { type Reply, type Request, RUN_METHOD, type SentSource, type SentStretch } from "./protocol.ts";
import { revivedError, unstartedError, workerError } from "./sent-errors.ts";

/** Threads with an engine each. They need no shared memory. */
export interface WorkerPool extends Workers, AsyncDisposable {
  /** Ends the workers, whatever they are at: tasks that still need them fail with a WorkerError. */
  close(): Promise<void>;
}

export interface PoolOptions {
  /** Loads the library, as it is built for where this runs. */
  readonly library: () => Promise<Pick<typeof workerpool, "pool">>;
  /** The workers' script: one that calls `serve`. */
  readonly script: string;
  readonly threads: number;
  /** The kernels they share; undefined for the scalar reference. */
  readonly module: Promise<WebAssembly.Module | undefined>;
  readonly type: "thread" | "web";
}

/**
 * Starts no worker before there is work for it.
 *
 * @throws ArgumentError unless `threads` is a whole number above 0
 */
export function poolOf({ library, script, threads, module, type }: PoolOptions): WorkerPool {
  if (!(Number.isSafeInteger(threads) && threads > 0)) {
    throw new ArgumentError("threads", `${String(threads)} given; a whole number above 0 is allowed`);
  }
  const kernels = module.catch((cause: Error) => {
    throw new WorkerError(`no worker can be started (${cause.message})`, undefined, { cause });
  });
  kernels.catch(() => {}); // heard of when they are wanted
  let workers: Promise<Pool> | undefined;
  const start = async () => {
    return (await library()).pool(script, {
      maxWorkers: threads,
      workerType: type,
      ...(type === "web" && { workerOpts: { type: "module" } }),
      ...(type === "thread" && { workerThreadOpts: { resourceLimits: { maxYoungGenerationSizeMb: YOUNG } } }),
    });
  };
  // What waits within the library waits for ever where a worker dies: it is given as much as there are workers.
  const turns = new Turns(threads);
  let closed: Promise<void> | undefined;
  let hasAnswered = false;
  const ask = async (request: Request, transfer: ArrayBufferLike[]): Promise<Reply> => {
    try {
      if (closed) throw new Error("asked of a closed pool");
      workers ??= start();
      const reply = await (await workers).exec(RUN_METHOD, [request], { transfer });
      hasAnswered = true;
      return reply;
    } catch (cause) {
      await closed; // until then workers may write to files, which whoever hears of it closes
      if (closed) throw new WorkerError("the pool of workers was closed", undefined, { cause });
      throw type === "web" && !hasAnswered ? unstartedError(script, cause) : workerError(cause);
    }
  };
  const close = () => {
    closed ??= terminate(workers);
    return closed;
  };
  return {
    atOnce: threads,
    async run<Unit, Result>(work: Work<Unit, Result>, files: Files, unit: Unit): Promise<Result> {
      const request = await requestFor(work, files, unit, await kernels);
      const transfer = request.sources.flatMap(({ stretches = [] }) => stretches.map(({ bytes }) => bytes.buffer));
      const reply = await turns.take(() => ask(request, transfer));
      if ("error" in reply) throw revivedError(reply.error);
      for (const { sink, position, bytes } of reply.writes) await files.sinks[sink]!.write(position, bytes);
      return reply.result as Result;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** MB that a worker's young objects may take: 48 by themselves, most of it small arrays that are long out of use. */
const YOUNG = 4;

/** Milliseconds within which workers end: those that do not hear of it in one second are stopped by the library. */
const PATIENCE = 3000;

async function terminate(workers: Promise<Pool> | undefined): Promise<void> {
  try {
    await (await workers)?.terminate(true, PATIENCE);
  } catch {
    // One that died while it had nothing to do: the library waits for it to end.
  }
}

/** What a worker cannot open is read for it. */
async function requestFor<Unit, Result>(
  work: Work<Unit, Result>,
  { sources, sinks }: Files,
  unit: Unit,
  module: WebAssembly.Module | undefined,
): Promise<Request> {
  const reads = sources.every(({ handle }) => handle !== undefined) ? [] : work.reads(unit);
  const sent = sources.map(async (source, file): Promise<SentSource> => {
    const { name, byteLength, handle } = source;
    if (handle !== undefined) return { name, byteLength, handle };
    return {
      name,
      byteLength,
      stretches: await stretchesOf(
        source,
        reads.filter((span) => span.file === file),
      ),
    };
  });
  return {
    module,
    work: work.name,
    unit: work.sent?.(unit) ?? unit,
    sources: await Promise.all(sent),
    sinks: sinks.map(({ handle }) => ({ handle })),
  };
}

/** Bytes of their own, which can be given away. */
async function stretchesOf(source: ByteSource, spans: readonly FileSpan[]): Promise<SentStretch[]> {
  const stretches: SentStretch[] = [];
  for (const { start, end } of spans) {
    const bytes = await readExactly(source, start, end);
    stretches.push({ start, bytes: bytes.slice() });
  }
  return stretches;
}

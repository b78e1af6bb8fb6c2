import workerpool from "workerpool";
import { createEngine, type Engine } from "../engine/engine.ts";
import type { ByteSink, ByteSource } from "../formats/byte-source.ts";
import type { FileSpan, Files, Work } from "../pipeline/work.ts";
import { type Reply, type Request, RUN_METHOD, type SentSource, type Written } from "./protocol.ts";
import { plainError } from "./sent-errors.ts";
import { workRegistry } from "./work-registry.ts";

/** How a worker opens what other threads have opened. */
export interface Opener {
  /** @param spans what will be read of it, in order */
  source(handle: unknown, sent: SentSource, spans: readonly FileSpan[]): ByteSource;
  sink(handle: unknown): Pick<ByteSink, "write">;
}

/** Does the work of a pool: to be called once, by a worker's script. */
export function serve(open: Opener): void {
  let engine: Promise<Engine> | undefined;
  const perform = async ({ module, work, unit, sources, sinks }: Request) => {
    const performer = workRegistry.get(work) as Work<unknown, unknown>;
    const sourceOf = (sent: SentSource, file: number) => {
      if (sent.handle === undefined) return sentSource(sent);
      const spans = performer.reads(unit).filter((span) => span.file === file);
      return open.source(sent.handle, sent, spans);
    };
    try {
      const writes: Written[] = [];
      const files: Files = {
        sources: sources.map(sourceOf),
        sinks: sinks.map(({ handle }, sink) => (handle === undefined ? collecting(writes, sink) : open.sink(handle))),
      };
      engine ??= createEngine(module ? { module } : { kernels: "scalar" });
      const own = await engine;
      own.ensureRoom(performer.room(unit)); // what is being read to memory that grows is lost
      const result = await performer.run(own, files, unit);
      const reply: Reply = { result, writes };
      return new workerpool.Transfer(
        reply,
        writes.map(({ bytes }) => bytes.buffer),
      );
    } catch (error) {
      return { error: plainError(error) } satisfies Reply;
    }
  };
  workerpool.worker({ [RUN_METHOD]: perform });
}

/** A source of which some stretches were read beforehand, and are asked for in their order. */
function sentSource({ name, byteLength, stretches = [] }: SentSource): ByteSource {
  let next = 0;
  return {
    name,
    byteLength,
    async slice(start, end) {
      for (let i = 0; i < stretches.length; i++) {
        const at = (next + i) % stretches.length;
        const { start: from, bytes } = stretches[at]!;
        if (start < from || end > from + bytes.byteLength) continue;
        next = at;
        return bytes.subarray(start - from, end - from);
      }
      throw new Error(`bytes ${start} to ${end} of ${name} were not sent`);
    },
  };
}

/** A sink whose bytes go back with the reply. */
function collecting(writes: Written[], sink: number): Pick<ByteSink, "write"> {
  return {
    async write(position, bytes) {
      writes.push({ sink, position, bytes: bytes.slice() });
    },
  };
}

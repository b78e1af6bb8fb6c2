import type { PlainError } from "./sent-errors.ts";

/** A source as it is sent to a worker: what it is opened by there, or what is to be read of it. */
export interface SentSource {
  readonly name: string;
  readonly byteLength: number;
  readonly handle?: unknown;
  readonly stretches?: readonly SentStretch[];
}

export interface SentStretch {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** The same of a sink; without a handle what is written comes back with the reply. */
export interface SentSink {
  readonly handle?: unknown;
}

/** A unit of work for a worker. */
export interface Request {
  readonly module: WebAssembly.Module | undefined;
  /** The work's name. */
  readonly work: string;
  readonly unit: unknown;
  readonly sources: readonly SentSource[];
  readonly sinks: readonly SentSink[];
}

/** Bytes for the sink at `sink` among the files. */
export interface Written {
  readonly sink: number;
  readonly position: number;
  readonly bytes: Uint8Array;
}

export type Reply = { readonly result: unknown; readonly writes: readonly Written[] } | { readonly error: PlainError };

/** The one method that workers have. */
export const RUN_METHOD = "perform";

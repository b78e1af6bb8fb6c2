import { expect } from "vitest";
import { isWasmQuantError } from "../../src/errors.ts";
import type { ByteSink } from "../../src/formats/byte-source.ts";
import { type GraphParts, graph, model, node, value } from "./onnx-build.ts";
import { tensor } from "./onnx-tensors.ts";
import { normals, randomOf } from "./random.ts";

export const values = normals(randomOf(3), 32 * 24);

export const w = tensor("W", "float32", [32, 24], values);

export const xy = { inputs: [value("x", "float32[2,32]")], outputs: [value("y", "float32")] };

export const matMul = node("MatMul", "x W", "y");

export function modelOf(parts: Partial<GraphParts>): Uint8Array {
  return model({ opsets: { "": 13 }, graph: graph({ nodes: [matMul], initializers: [w], ...xy, ...parts }) });
}

/** A sink that tells what came of it. */
export function spySink() {
  const told = { writes: 0, closed: false, aborted: false };
  const sink: ByteSink = {
    write: async () => {
      told.writes++;
    },
    close: async () => {
      told.closed = true;
    },
    abort: async () => {
      told.aborted = true;
    },
    companion: async (suffix) => ({ name: `out${suffix}`, write: async () => {} }),
  };
  return { sink, told };
}

export interface Attempt {
  readonly error: unknown;
  readonly told: ReturnType<typeof spySink>["told"];
}

/** An error of ours, in one line that starts with the file's name; the sink was given up and nothing of it shows. */
export function expectRefusal({ error, told }: Attempt, says: RegExp, tag: "format" | "argument" = "format"): void {
  expect(error).toBeInstanceOf(Error);
  const { message, stack } = error as Error;
  expect(isWasmQuantError(error, tag), stack ?? message).toBe(true);
  expect(message).toMatch(says);
  expect(message).not.toMatch(/[\n\r]/);
  expect(message.length).toBeLessThan(600);
  if (tag === "format") expect(message).toMatch(/^model\.onnx: /);
  expect(told).toMatchObject({ closed: false, aborted: true });
}

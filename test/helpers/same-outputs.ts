import { expect } from "vitest";
import { tensor } from "./onnx-tensors.ts";
import { normals, randomOf } from "./random.ts";
import { type Feeds, type Outputs, runtimes, withSession } from "./sessions.ts";

export const W = (name: string, seed: number) => tensor(name, "float32", [32, 32], normals(randomOf(seed), 1024));

export const x: Feeds = { x: { dims: [2, 32], data: normals(randomOf(9), 64, 0.2) } };

export const outputsOf = (runtime: keyof typeof runtimes, bytes: Uint8Array, feeds: Feeds) =>
  withSession(runtimes[runtime](bytes), (session) => session.run(feeds));

/** How far outputs are apart, over the largest. */
export function distance(a: Outputs, b: Outputs): number {
  const [p, q] = [a.y!.data as Float32Array, b.y!.data as Float32Array];
  const largest = p.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
  return p.reduce((most, each, i) => Math.max(most, Math.abs(each - q[i]!)), 0) / largest;
}

export async function expectSame(before: Uint8Array, after: Uint8Array, feeds: Feeds): Promise<void> {
  for (const runtime of ["node", "web"] as const) {
    expect(distance(await outputsOf(runtime, before, feeds), await outputsOf(runtime, after, feeds))).toBeLessThan(
      0.03,
    );
  }
}

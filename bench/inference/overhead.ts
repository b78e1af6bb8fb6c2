import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeModel } from "../../test/helpers/onnx-writer.ts";
import { timingOf } from "../harness.ts";
import { interleave, type RoundsPlan } from "./rounds.ts";
import { openSession } from "./session.ts";

/** Seconds of a run of a model that does nothing much: what of every figure is the call from JavaScript. */
export async function overheadOf(folder: string, plan: RoundsPlan): Promise<number> {
  const path = join(folder, "overhead.onnx");
  const value = (name: string) => ({ name, type: "float32", shape: [1] }) as const;
  const nodes = [{ op: "Neg", inputs: ["x"], outputs: ["y"], attributes: {} }];
  const model = { irVersion: 10, opset: 21, nodes, initializers: [], inputs: [value("x")], outputs: [value("y")] };
  await writeFile(path, writeModel(model));
  const session = await openSession(path);
  try {
    const run = session.prepare({ x: { dtype: "float32", shape: [1], data: new Float32Array(1) } });
    const [samples] = await interleave([run], plan, () => {});
    return timingOf(samples!).seconds;
  } finally {
    await session.release();
    await rm(path);
  }
}

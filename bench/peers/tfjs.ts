import "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import type { Given, Job, Peer, Prepared } from "./peer.ts";

/** Its data stay on its heap, as ours do. */
async function prepare({ x, scale }: Given): Promise<Prepared> {
  const values = tf.tensor1d(x);
  const bounds = (): [min: number, max: number] => {
    const found = [tf.min(values), tf.max(values)] as const;
    const [min, max] = [found[0].dataSync()[0]!, found[1].dataSync()[0]!];
    for (const tensor of found) tensor.dispose();
    return [min, max];
  };
  const codesOf = (step: number, zeroPoint: number, min: number, max: number) =>
    tf.tidy(() => {
      const rounded = tf.round(tf.div(values, step));
      return tf.cast(tf.clipByValue(zeroPoint === 0 ? rounded : tf.add(rounded, zeroPoint), min, max), "int32");
    });
  const job = (quantize: () => tf.Tensor): Job => ({
    run: () => {
      const q = quantize();
      q.dispose();
      return q.size;
    },
    result: () => {
      const q = quantize();
      const codes = q.dataSync();
      q.dispose();
      return codes;
    },
  });
  const width = () => {
    const [min, max] = bounds();
    return max - min;
  };
  const jobs = {
    QuantizeLinear: job(() => codesOf(scale, 0, -128, 127)),
    DynamicQuantizeLinear: job(() => {
      const [min, max] = bounds();
      const low = Math.min(min, 0);
      const step = Math.fround(Math.fround(Math.max(max, 0) - low) / 255);
      return codesOf(step, Math.round(Math.fround(-low / step)), 0, 255);
    }),
    range: { run: width, result: () => [width()] },
  };
  return { jobs, free: () => values.dispose() };
}

if (!(await tf.setBackend("wasm"))) throw new Error("its wasm backend does not start");

/** The operators that would do it at once. */
const missing = ["Quantize", "FakeQuantWithMinMaxVars"].filter((name) => !tf.getKernel(name, "wasm"));

export const peer: Peer = {
  name: "tfjs-backend-wasm",
  note: `no ${missing.join(", no ")}: min, max, div, round, add, clipByValue and cast in turn, to int32 for want of 8 bits`,
  prepare,
};

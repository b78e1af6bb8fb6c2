import type { ResidentTensor } from "../../src/engine/tensors/resident-tensor.ts";
import type { FloatTensor } from "../../src/engine/tensors/tensor.ts";
import type { BenchMemory } from "../bench-memory.ts";
import type { Given, Job, Peer, Prepared } from "./peer.ts";

/** The library as it is called: over data in linear memory, and over arrays of JavaScript's. */
export function ours({ engine }: BenchMemory): readonly [resident: Peer, ...owned: Peer[]] {
  const range = (tensor: FloatTensor | ResidentTensor): Job => {
    const width = () => {
      const { min, max } = engine.range(tensor);
      return max[0]! - min[0]!;
    };
    return { run: width, result: () => [width()] };
  };
  const resident = async ({ x, scale }: Given): Promise<Prepared> => {
    const tensor = engine.allocate("float32", [x.length]);
    tensor.data.set(x);
    /** Its memory is what the next call gets. */
    const job = (options: { dtype: "int8"; scale: number } | { dtype: "uint8"; scheme: "dynamic" }): Job => ({
      run: () => {
        const q = engine.quantize(tensor, options);
        q.dispose();
        return q.scale.length;
      },
      result: () => {
        using q = engine.quantize(tensor, options);
        return q.data.slice();
      },
    });
    const jobs = {
      QuantizeLinear: job({ dtype: "int8", scale }),
      DynamicQuantizeLinear: job({ dtype: "uint8", scheme: "dynamic" }),
      range: range(tensor),
    };
    return { jobs, free: () => tensor.dispose() };
  };
  const owned = async ({ x, scale }: Given, fresh: boolean): Promise<Prepared> => {
    const tensor = { data: x, shape: [x.length] };
    const signed = fresh ? undefined : new Int8Array(x.length);
    const unsigned = fresh ? undefined : new Uint8Array(x.length);
    const job = (quantize: () => { readonly data: ArrayLike<number> }): Job => ({
      run: () => quantize().data.length,
      result: () => quantize().data,
    });
    const codes = {
      QuantizeLinear: job(() => engine.quantize(tensor, { dtype: "int8", scale, out: signed })),
      DynamicQuantizeLinear: job(() => engine.quantize(tensor, { dtype: "uint8", scheme: "dynamic", out: unsigned })),
    };
    // A range has no output.
    return { jobs: fresh ? codes : { ...codes, range: range(tensor) }, free: () => {} };
  };
  return [
    { name: "wasm-quant", prepare: resident },
    { name: "wasm-quant, JavaScript's array, into out", prepare: (given) => owned(given, false) },
    { name: "wasm-quant, JavaScript's array, fresh output", prepare: (given) => owned(given, true) },
  ];
}

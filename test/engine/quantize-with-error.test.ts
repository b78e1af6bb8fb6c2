import { describe, expect, it } from "vitest";
import { createEngine, type FloatTensor } from "../../src/index.ts";
import { differenceOf } from "../helpers/onnx-values.ts";
import { normals, randomOf } from "../helpers/random.ts";

const engine = await createEngine();
const shape = [70, 1100]; // more than a tile, and no multiple of one
const data = normals(randomOf(7), 70 * 1100);

const granularities = [{}, { axis: 0 }, { axis: 1 }, { axis: 0, blockSize: 32 }, { axis: 1, blockSize: 48 }] as const;

/** In every place a tensor can be: an array, half precision, linear memory. */
function places(): [string, FloatTensor][] {
  const resident = engine.allocate("float32", shape);
  resident.data.set(data);
  const half = engine.dequantize(engine.quantize({ data, shape }, { dtype: "int16" }), { dtype: "float16" });
  return [
    ["array", { data, shape }],
    ["float16", half],
    ["resident", resident],
  ];
}

describe.each(["int8", "uint8", "int16", "int4", "uint4"] as const)("%s", (dtype) => {
  it.each(granularities)(
    "quantizing and measuring at once gives the same as one after the other, %j",
    (granularity) => {
      for (const [place, tensor] of places()) {
        const options = { dtype, ...granularity };
        const { q, loss } = engine.quantizeWithError(tensor, options);
        const alone = engine.quantize(tensor, options);
        expect(differenceOf(q.data, alone.data), place).toBeUndefined();
        expect(q.scale).toEqual(alone.scale);
        expect(engine.error(tensor, alone), place).toMatchObject(loss);
      }
    },
  );
});

it("float-offset, whose two passes need other parameters", () => {
  const tensor = engine.allocate("float32", shape);
  tensor.data.set(data);
  const { q, loss } = engine.quantizeWithError(tensor, { dtype: "uint8", scheme: "float-offset", axis: 0 });
  expect(engine.error(tensor, q)).toMatchObject(loss);
  expect(loss.sqnr).toBeGreaterThan(30);
});

it("what is lost is what error tells, in every scheme and type", () => {
  const tensor = { data: data.subarray(0, 64 * 1100), shape: [64, 1100] };
  for (const dtype of ["int8", "uint8", "int16", "uint16", "int4", "uint4"] as const) {
    for (const scheme of ["asymmetric", "symmetric", "float-offset"] as const) {
      for (const granularity of granularities) {
        const { q, loss } = engine.quantizeWithError(tensor, { dtype, scheme, ...granularity });
        expect(engine.error(tensor, q), `${dtype} ${scheme}`).toMatchObject(loss);
        expect(loss.sqnr).toBeGreaterThan(10);
      }
    }
  }
});

it("nothing at all", () => {
  const tensor = { data: new Float32Array(0), shape: [0, 16] };
  expect(engine.quantizeWithError(tensor, { axis: 1 }).q).toEqual(engine.quantize(tensor, { axis: 1 }));
});

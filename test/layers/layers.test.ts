import { beforeAll, describe, expect, it } from "vitest";
import {
  type ConvLayout,
  createEngine,
  type Engine,
  type FloatTensor,
  type QuantizedTensor,
  quantizeConv,
  quantizeLinear,
} from "../../src/index.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { groupsOf, halfToEven } from "../helpers/reference.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const random = randomOf(21);
const tensor = (shape: number[], deviation = 1) => ({
  data: normals(
    random,
    shape.reduce((a, b) => a * b, 1),
    deviation,
  ),
  shape,
});

/** Axes of the output channels of each layout, by hand. */
const outputAxes: Record<ConvLayout, number[]> = {
  OIW: [0],
  WIO: [2],
  OWI: [0],
  IOW: [1],
  WCM: [1, 2],
  OIHW: [0],
  HWIO: [3],
  OHWI: [0],
  IOHW: [1],
  HWCM: [2, 3],
  OIDHW: [0],
  DHWIO: [4],
  ODHWI: [0],
  IODHW: [1],
  DHWCM: [3, 4],
};

const codesOf = (bias: QuantizedTensor | FloatTensor | undefined) => bias as QuantizedTensor;

describe("the textbook examples", () => {
  it("a 10 x 5 matrix with 5 biases, mapped from [min, max] onto [0, 255]", () => {
    const weight = tensor([10, 5]);
    const bias = tensor([5]);
    const options = {
      layout: "IO",
      dtype: "uint8",
      scheme: "float-offset",
      perChannel: false,
      biasDtype: "uint8",
    } as const;
    const q = quantizeLinear(engine, { weight, bias }, options);
    for (const [given, codes] of [
      [weight, q.weight],
      [bias, codesOf(q.bias)],
    ] as const) {
      const [min, max] = [Math.min(...given.data), Math.max(...given.data)];
      expect(codes.shape).toEqual(given.shape);
      expect(codes.min?.[0]).toBe(min);
      expect(codes.scale[0]).toBe(Math.fround(Math.fround(max - min) / 255));
      given.data.forEach((x, i) => {
        const exact = ((x - min) / (max - min)) * 255;
        expect(Math.abs(codes.data[i]! - exact)).toBeLessThan(0.5001);
      });
    }
  });

  it("a 3 x 3 x 64 x 64 kernel, HWIO, with 64 biases, a scale for each output channel", () => {
    const weight = tensor([3, 3, 64, 64], 0.05);
    const bias = tensor([64]);
    const { weight: codes, bias: biasCodes } = quantizeConv(
      engine,
      { weight, bias },
      { layout: "HWIO", inputScale: 0.02 },
    );
    expect(codes).toMatchObject({ dtype: "int8", scheme: "symmetric", axis: 3, shape: [3, 3, 64, 64] });
    for (let o = 0; o < 64; o++) {
      let largest = 0;
      for (let i = o; i < weight.data.length; i += 64) largest = Math.max(largest, Math.abs(weight.data[i]!));
      expect(codes.scale[o]).toBe(Math.fround((2 * largest) / 254));
      const scale = Math.fround(Math.fround(0.02) * codes.scale[o]!);
      expect(codesOf(biasCodes).scale[o]).toBe(scale);
      expect(codesOf(biasCodes).data[o]).toBe(halfToEven(bias.data[o]! / scale));
    }
    expect(engine.error(weight, codes).sqnr).toBeGreaterThan(38);
  });
});

describe.each(Object.keys(outputAxes) as ConvLayout[])("quantizeConv in %s", (layout) => {
  const sizes = [4, 6, 2, 3, 5].slice(0, layout.length);
  const axes = outputAxes[layout];
  const outputs = axes.reduce((n, a) => n * sizes[a]!, 1);

  it("gives each output channel its own scale, and its bias the product with the input's", () => {
    const weight = tensor(sizes);
    const bias = tensor([outputs]);
    const q = quantizeConv(engine, { weight, bias }, { layout, inputScale: 0.5 });
    const axis = axes.length === 1 ? axes[0]! : ([axes[0]!, axes[1]!] as const);
    const group = groupsOf(sizes, { axis });
    const largest = new Float32Array(outputs);
    weight.data.forEach((x, i) => {
      largest[group[i]!] = Math.max(largest[group[i]!]!, Math.abs(x));
    });
    expect(q.weight.scale).toEqual(largest.map((m) => Math.fround(2 * m) / 254));
    expect(q.weight.shape).toEqual(sizes);
    weight.data.forEach((x, i) => {
      expect(q.weight.data[i]).toBe(halfToEven(Math.fround(x / q.weight.scale[group[i]!]!)) + 0);
    });
    expect(codesOf(q.bias).scale).toEqual(q.weight.scale.map((s) => 0.5 * s));
    expect(codesOf(q.bias).dtype).toBe("int32");
    const restored = engine.dequantize(codesOf(q.bias)).data;
    bias.data.forEach((b, c) => {
      expect(Math.abs(restored[c]! - b)).toBeLessThanOrEqual(codesOf(q.bias).scale[c]! * 0.51);
    });
  });

  it("takes one scale for all when not per channel", () => {
    const q = quantizeConv(
      engine,
      { weight: tensor(sizes), bias: tensor([outputs]) },
      { layout, perChannel: false, inputScale: 1 },
    );
    expect(q.weight.scale.length).toBe(1);
    expect(codesOf(q.bias).scale).toEqual(q.weight.scale);
  });
});

describe("grouped convolutions", () => {
  it("transposed: each scale serves its channel of every group", () => {
    const weight = tensor([8, 3, 2, 2]); // 8 inputs, 2 groups of 3 outputs
    const bias = tensor([6]);
    const q = quantizeConv(engine, { weight, bias }, { layout: "IOHW", groups: 2, inputScale: 0.1 });
    expect(q.weight.scale.length).toBe(3);
    const input = Math.fround(0.1);
    expect([...codesOf(q.bias).scale]).toEqual([0, 1, 2, 0, 1, 2].map((c) => Math.fround(input * q.weight.scale[c]!)));
  });
  it("depthwise in PyTorch's layout is an ordinary OIHW with one input channel", () => {
    const q = quantizeConv(engine, { weight: tensor([8, 1, 3, 3]), bias: tensor([8]) }, { groups: 8 });
    expect(q.weight.scale.length).toBe(8);
  });
});

describe("bias", () => {
  const weight = { data: Float32Array.of(1, -1, 0.5, 2), shape: [2, 2] };
  it("stays as it is without an input scale", () => {
    const bias = tensor([2]);
    expect(quantizeLinear(engine, { weight, bias }).bias).toBe(bias);
    expect(quantizeLinear(engine, { weight, bias }, { inputScale: 1, biasDtype: "float32" }).bias).toBe(bias);
    expect(quantizeLinear(engine, { weight }, { inputScale: 1 }).bias).toBeUndefined();
  });

  it("that would overflow int32 widens the weight's scale, for its channel alone", () => {
    const bias = { data: Float32Array.of(1000, 0.1), shape: [2] };
    const inputScale = 2 ** -26;
    const q = quantizeLinear(engine, { weight, bias }, { inputScale });
    const plain = quantizeLinear(engine, { weight });
    const smallest = (1.0001 * 2 * 1000) / (2 ** 32 - 2);
    const product = inputScale * plain.weight.scale[0]!;
    expect(product).toBeLessThan(smallest);
    expect(q.weight.scale[0]).toBe(Math.fround(plain.weight.scale[0]! * (smallest / product)));
    expect(q.weight.scale[1]).toBe(plain.weight.scale[1]);
    expect(q.weight.data[0]).toBe(halfToEven(Math.fround(1 / q.weight.scale[0]!)));
    expect([...q.weight.data.slice(2)]).toEqual([...plain.weight.data.slice(2)]);
    expect(q.weight).toMatchObject({ scheme: "symmetric", axis: 0 });
    expect(engine.dequantize(codesOf(q.bias)).data[0]).toBeCloseTo(1000, 3);
    expect(codesOf(q.bias).data[0]).toBeLessThan(2 ** 31 - 1);
  });

  it("guards each channel by its own bias, of every group of a transposed convolution", () => {
    const kernel = { data: new Float32Array(4 * 2).fill(1), shape: [4, 2, 1] };
    const bias = { data: Float32Array.of(0.01, 0.01, 0.01, 1000), shape: [4] };
    const q = quantizeConv(engine, { weight: kernel, bias }, { layout: "IOW", groups: 2, inputScale: 2 ** -26 });
    const plain = quantizeConv(engine, { weight: kernel }, { layout: "IOW", groups: 2 });
    expect(q.weight.scale[0]).toBe(plain.weight.scale[0]);
    expect(q.weight.scale[1]).toBeGreaterThan(plain.weight.scale[1]!);
    expect(engine.dequantize(codesOf(q.bias)).data[3]).toBeCloseTo(1000, 3);
  });

  it("may hold NaN where that is ignored", () => {
    const bias = { data: Float32Array.of(Number.NaN, 1), shape: [2] };
    const q = quantizeLinear(engine, { weight, bias }, { inputScale: 0.1, nonFinite: "ignore" });
    expect(codesOf(q.bias).data[0]).toBe(-(2 ** 31));
  });

  it("guards a weight with one scale by the largest bias", () => {
    const bias = { data: Float32Array.of(1, -1000), shape: [2] };
    const q = quantizeLinear(engine, { weight, bias }, { inputScale: 2 ** -26, perChannel: false });
    expect(q.weight.scale.length).toBe(1);
    expect(engine.dequantize(codesOf(q.bias)).data[1]).toBeCloseTo(-1000, 3);
  });

  it("keeps residents resident, the narrower codes let go", () => {
    const resident = engine.allocate("float32", [2, 2]);
    resident.data.set(weight.data);
    const bias = { data: Float32Array.of(1000, 1), shape: [2] };
    const q = quantizeLinear(engine, { weight: resident, bias }, { inputScale: 2 ** -26 });
    expect([...q.weight.data]).toEqual([
      ...quantizeLinear(engine, { weight, bias }, { inputScale: 2 ** -26 }).weight.data,
    ]);
    q.weight.dispose();
  });
});

describe("what is refused", () => {
  const weight = tensor([4, 3]);
  it.each([
    [() => quantizeLinear(engine, { weight, bias: tensor([3]) }), /bias: shape \[3\] given; the weight has 4 output/],
    [() => quantizeLinear(engine, { weight: tensor([4]) }), /weight: shape \[4\] given; .* two dimensions/],
    [() => quantizeLinear(engine, { weight }, { layout: "HW" as "OI" }), /layout: "HW" given; OI, IO are allowed/],
    [() => quantizeConv(engine, { weight }), /weight: .* 3 to 5 dimensions/],
    [() => quantizeConv(engine, { weight: tensor([4, 3, 3]) }, { layout: "OIHW" }), /layout: OIHW has 4 .*OIW, WIO/],
    [
      () => quantizeConv(engine, { weight: tensor([4, 3, 3]) }, { groups: 3 }),
      /groups: 3 given; a divisor of the 4 output/,
    ],
    [
      () => quantizeConv(engine, { weight: tensor([3, 3, 4, 2]) }, { layout: "HWCM", groups: 3 }),
      /groups: 3 given.* 4 channels/,
    ],
    [() => quantizeLinear(engine, { weight, bias: tensor([4]) }, { inputScale: 0 }), /inputScale: 0 given/],
    [() => quantizeLinear(engine, { weight, bias: tensor([4]) }, { biasDtype: "int32" }), /inputScale: an int32 bias/],
    [
      () => quantizeLinear(engine, { weight, bias: tensor([4]) }, { inputScale: 1, biasDtype: "int8" }),
      /biasDtype: int8/,
    ],
    [
      () => quantizeLinear(engine, { weight, bias: tensor([4]) }, { inputScale: 1, scheme: "float-offset" }),
      /scheme: float-offset/,
    ],
    [() => quantizeLinear(engine, { weight }, { inputScale: -5 }), /inputScale: -5 given/],
    [
      () => quantizeLinear(engine, { weight }, { biasDtype: "int99" as "int8" }),
      /biasDtype: "int99" given; float32, int32/,
    ],
    [() => quantizeLinear(engine, { weight }, { perChannel: null } as never), /perChannel: null given/],
    [() => quantizeLinear(engine, {} as never), /weight: missing/],
    [
      () => quantizeLinear(engine, { weight: Float32Array.of(1) as never }),
      /weight: expected \{ data, shape \}; got a Float32Array without a shape/,
    ],
    [
      () => quantizeLinear(engine, { weight: { data: new Float32Array(4), shape: [2, 2] }, bias: [1, 2] as never }),
      /bias: expected \{ data, shape \}; got nested arrays/,
    ],
    [
      () => quantizeConv(engine, { weight: tensor([4, 3, 3]) }, { group: 1 } as never),
      /group: no such option; .* groups/,
    ],
    [
      () => quantizeLinear(engine, { weight, bias: { data: new Float32Array(7), shape: [4] } }),
      /bias: Float32Array of length 7/,
    ],
    [
      () => quantizeLinear(engine, { weight, bias: { data: new Float32Array(4), shape: [4] } }, { inputScale: 1e-45 }),
      /inputScale: .* is 0 in float32/,
    ],
    [() => quantizeLinear(engine, { weight }, { perchannel: true } as object), /perchannel: no such option/],
  ])("%s", (call, message) => {
    expect(call).toThrow(message);
  });
});

import { describe, expect, it } from "vitest";
import { randomFeeds } from "../../src/compare/feeds.ts";
import type { ModelValueInfo } from "../../src/compare/model-runtime.ts";
import { randomOf } from "../../src/compare/random-numbers.ts";
import type { Feeds, FeedTensor } from "../../src/compare/tensor-values.ts";
import { spec } from "../helpers/input-spec.ts";

interface Options {
  readonly seed?: number;
  readonly sets?: number;
  readonly limits?: Readonly<Record<string, number>>;
}

/** The sets that `randomFeeds` makes up. */
function draw(inputs: readonly ModelValueInfo[], { seed = 1, sets = 1, limits = {} }: Options = {}): Promise<Feeds[]> {
  const made = randomFeeds(inputs, { seed, sets, limits: new Map(Object.entries(limits)) });
  return Promise.all(made.map((set) => set.read()));
}

async function drawOne(input: ModelValueInfo, options: Options = {}): Promise<FeedTensor> {
  const [set] = await draw([input], options);
  return set![input.name]!;
}

const numbers = (feed: FeedTensor) => Array.from(feed.data as ArrayLike<number | bigint>, Number);

describe("random numbers", () => {
  it("are those of xoshiro128**, seeded by splitmix", () => {
    const random = randomOf(1, 0);
    const drawn = Array.from({ length: 4 }, () => random.below(2 ** 32));
    expect(drawn).toEqual([2442144158, 3238099751, 3819917871, 2104621829]);
  });

  it("are below their limit, each as often as the others", () => {
    const random = randomOf(7, 0);
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++) counts[random.below(10)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400); // four standard deviations
  });

  it("are nearly standard normal", () => {
    const random = randomOf(7, 0);
    const drawn = Array.from({ length: 100_000 }, random.normal);
    const moment = (power: number) => drawn.reduce((sum, x) => sum + x ** power, 0) / drawn.length;
    expect(Math.abs(moment(1))).toBeLessThan(0.015);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.02);
    expect(Math.abs(moment(4) - 2.9)).toBeLessThan(0.1);
    expect(drawn.filter((x) => Math.abs(x) > 1).length / drawn.length).toBeCloseTo(0.321, 2);
  });
});

describe("randomFeeds", () => {
  it("are the same for the same seed, other ones for another seed and in another set", async () => {
    const inputs = [spec("x", "float32", [4, 3]), spec("ids", "int64", [1, 50])];
    const [a, b, c] = await draw(inputs, { sets: 3, limits: { ids: 1000 } });
    expect(await draw(inputs, { sets: 2, limits: { ids: 1000 } })).toEqual([a, b]);
    const [other] = await draw(inputs, { seed: 2, limits: { ids: 1000 } });
    for (const name of ["x", "ids"]) {
      const distinct = new Set([a, b, c, other].map((feeds) => String(feeds![name]!.data)));
      expect(distinct.size, name).toBe(4);
    }
  });

  it("do not change from version to version", async () => {
    const x = await drawOne(spec("x", "float32", [2]), { seed: 42 });
    expect(x).toEqual({
      dtype: "float32",
      shape: [2],
      data: Float32Array.of(-2.042576313018799, -0.10192303359508514),
    });
  });

  it("are read anew each time, the same", async () => {
    const [set] = randomFeeds([spec("x", "float32", [8])], { seed: 1, sets: 1, limits: new Map() });
    expect(await set!.read()).toEqual(await set!.read());
  });

  it.each<[ModelValueInfo["dtype"], new () => object]>([
    ["float32", Float32Array],
    ["float16", Uint16Array],
    ["float64", Float64Array],
    ["int64", BigInt64Array],
    ["uint64", BigUint64Array],
    ["int32", Int32Array],
    ["uint32", Uint32Array],
    ["int16", Int16Array],
    ["uint16", Uint16Array],
    ["int8", Int8Array],
    ["uint8", Uint8Array],
    ["bool", Uint8Array],
  ])("of %s are in the array for it", async (dtype, array) => {
    const feed = await drawOne(spec("x", dtype, [2, 3]));
    expect(feed).toMatchObject({ dtype, shape: [2, 3] });
    expect(feed.data).toBeInstanceOf(array);
    expect(feed.data.length).toBe(6);
  });

  it("of float16 are the float32 ones, rounded", async () => {
    const half = await drawOne(spec("x", "float16", [100]));
    const single = await drawOne(spec("x", "float32", [100]));
    const widened = numbers(half).map((bits) => {
      const exponent = (bits >> 10) & 31;
      const size = exponent === 0 ? (bits & 1023) * 2 ** -24 : (1024 + (bits & 1023)) * 2 ** (exponent - 25);
      return bits & 0x8000 ? -size : size;
    });
    widened.forEach((x, i) => {
      const wanted = single.data[i] as number;
      expect(Math.abs(x - wanted)).toBeLessThanOrEqual(Math.abs(wanted) * 2 ** -11 + 2 ** -25);
    });
  });

  it("a scalar is one number", async () => {
    expect(await drawOne(spec("x", "float32", []))).toMatchObject({ shape: [], data: { length: 1 } });
  });

  it.each(["int4", "uint4", "string", "other"] as const)("cannot be made up for %s", (dtype) => {
    expect(() => randomFeeds([spec("x", dtype, [1])], { seed: 1, sets: 1, limits: new Map() })).toThrow(
      expect.objectContaining({ name: "ArgumentError", message: `inputs: "x" is ${dtype}, which cannot be made up` }),
    );
  });

  describe("dimensions", () => {
    const shapes = async (...inputs: ModelValueInfo[]) => {
      const [set] = await draw(inputs);
      return inputs.map(({ name }) => set![name]!.shape);
    };

    it.each([
      ["batch_size", 1],
      ["N", 1],
      ["num_channels", 3],
      ["height", 224],
      ["w", 224],
      ["sequence_length", 16],
      ["decoder_length", 16],
      ["num_tokens", 16],
      ["past_sequence_length", 0],
      ["cache_len", 0],
      ["past_sequence_length + 1", 1],
      ["past_sequence_length + sequence_length", 16],
      ["encoder+2+unk__3", 18],
      ["unk__6", 8],
      ["", 8],
    ])("called %j have size %i", async (name, size) => {
      expect(await shapes(spec("x", "float32", [2, 5, name]))).toEqual([[2, 5, size]]);
    });

    it("without a name, or one that says nothing, are 1 in front", async () => {
      const inputs = [spec("a", "float32", ["", 4]), spec("b", "float32", ["unk__6", 4]), spec("c", "int64", ["seq"])];
      expect(await shapes(...inputs)).toEqual([[1, 4], [1, 4], [16]]);
    });

    it("have one size for one name, and for none each their own", async () => {
      const inputs = [spec("a", "float32", ["s0", "s1", ""]), spec("b", "float32", ["", "", "s0"])];
      expect(await shapes(...inputs)).toEqual([
        [1, 8, 8],
        [1, 8, 1],
      ]);
    });

    it("of a decoder with a cache go together", async () => {
      const inputs = [
        spec("input_ids", "int64", ["batch_size", "sequence_length"]),
        spec("attention_mask", "int64", ["batch_size", "past_sequence_length + sequence_length"]),
        spec("past_key_values.0.key", "float32", ["batch_size", 12, "past_sequence_length", 64]),
      ];
      expect(await shapes(...inputs)).toEqual([
        [1, 16],
        [1, 16],
        [1, 12, 0, 64],
      ]);
    });

    it("of sound are 16000 samples, and so what goes with them", async () => {
      const inputs = [
        spec("attention_mask", "int64", ["batch_size", "sequence_length"]),
        spec("input_values", "float32", ["batch_size", "sequence_length"]),
      ];
      expect(await shapes(...inputs)).toEqual([
        [1, 16000],
        [1, 16000],
      ]);
      expect(await shapes(spec("audio", "float32", ["samples"]))).toEqual([[16000]]);
    });

    it("of features, float masks and caches are not those of sound", async () => {
      expect(await shapes(spec("x", "float32", ["batch", "sequence", 80]))).toEqual([[1, 16, 80]]);
      expect(await shapes(spec("attention_mask", "float32", ["batch", "sequence"]))).toEqual([[1, 16]]);
      expect(await shapes(spec("x", "float32", ["batch", "past_sequence"]))).toEqual([[1, 0]]);
      expect(await shapes(spec("x", "float32", ["batch", "features"]))).toEqual([[1, 8]]);
    });
  });

  describe("values", () => {
    it("of ids are all those below the limit", async () => {
      const drawn = numbers(await drawOne(spec("input_ids", "int64", [1, 2000]), { limits: { input_ids: 50 } }));
      expect(new Set(drawn)).toEqual(new Set(Array.from({ length: 50 }, (_, i) => i)));
    });

    it("of ids without a limit are 0 and 1", async () => {
      expect(new Set(numbers(await drawOne(spec("input_ids", "int32", [200]))))).toEqual(new Set([0, 1]));
    });

    it.each([
      ["uint8", 0, 255],
      ["int8", -128, 127],
    ] as const)("of %s without a limit are all there are", async (dtype, min, max) => {
      const drawn = numbers(await drawOne(spec("pixels", dtype, [20_000])));
      expect([new Set(drawn).size, Math.min(...drawn), Math.max(...drawn)]).toEqual([256, min, max]);
      const limited = numbers(await drawOne(spec("pixels", dtype, [1000]), { limits: { pixels: 3 } }));
      expect(new Set(limited)).toEqual(new Set([0, 1, 2]));
    });

    it.each([
      ["attention_mask", "int64"],
      ["attention_mask", "float32"],
      ["input_mask", "int32"],
      ["mask", "uint8"],
      ["anything", "bool"],
    ] as const)("of %s, %s, are ones", async (name, dtype) => {
      expect(numbers(await drawOne(spec(name, dtype, [1, 4]), { limits: { [name]: 7 } }))).toEqual([1, 1, 1, 1]);
    });

    it("of other masks that are floats are normal", async () => {
      expect(new Set(numbers(await drawOne(spec("mask_input", "float32", [1, 50])))).size).toBe(50);
    });

    it("of token types are zeros", async () => {
      expect(numbers(await drawOne(spec("token_type_ids", "int64", [1, 40]), { limits: {} }))).toEqual(
        Array(40).fill(0),
      );
      expect(numbers(await drawOne(spec("segment_ids:0", "int32", [1, 40])))).toEqual(Array(40).fill(0));
    });

    it("of positions count along the last axis, below the limit", async () => {
      const positions = spec("position_ids", "int64", [2, 4]);
      expect(numbers(await drawOne(positions))).toEqual([0, 1, 2, 3, 0, 1, 2, 3]);
      expect(numbers(await drawOne(positions, { limits: { position_ids: 3 } }))).toEqual([0, 1, 2, 0, 0, 1, 2, 0]);
      expect(numbers(await drawOne(spec("cache_position", "int64", [])))).toEqual([0]);
    });

    it("of a sampling rate are 16000", async () => {
      expect(numbers(await drawOne(spec("sr", "int64", [])))).toEqual([16000]);
      expect(numbers(await drawOne(spec("sampling_rate", "int32", [1])))).toEqual([16000]);
    });
  });
});

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../../src/engine/engine.ts";
import { node } from "../../../helpers/onnx-build.ts";
import { eightBits, integerTypes, NEAR, rewriterOf } from "../../../helpers/rewritten.ts";
import { openNode, withSession } from "../../../helpers/sessions.ts";
import { floats, nearness, type Sketch } from "../../../helpers/sketch.ts";

// Convolutions that calculate in integers, each run beside the float model in both runtimes.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const { rewritten, expectNear, expectFloat } = rewriterOf(() => engine, { mode: "dynamic", opTypes: integerTypes });

/** DynamicQuantizeLinear, the product, and what restores it. */
const layer = { DynamicQuantizeLinear: 1, ConvInteger: 1, Cast: 1, Mul: 2 };

describe("Conv", () => {
  const shapes = [
    { of: "1-D", x: [1, 4, 9], w: [6, 4, 3] },
    { of: "2-D", x: [2, 4, 9, 9], w: [6, 4, 3, 3], attributes: { pads: [1, 1, 1, 1] } },
    { of: "3-D", x: [1, 4, 5, 6, 7], w: [6, 4, 3, 3, 3] },
    { of: "depthwise", x: [1, 4, 9, 9], w: [4, 1, 3, 3], attributes: { group: 4 } },
    { of: "groups, SAME_UPPER", x: [1, 4, 9, 9], w: [6, 2, 3, 3], attributes: { group: 2, auto_pad: "SAME_UPPER" } },
    {
      of: "strides, SAME_LOWER",
      x: [1, 4, 9, 9],
      w: [6, 4, 3, 3],
      attributes: { strides: [2, 2], auto_pad: "SAME_LOWER" },
    },
    { of: "dilations, VALID", x: [1, 4, 9, 9], w: [6, 4, 3, 3], attributes: { dilations: [2, 2], auto_pad: "VALID" } },
  ];

  it.each(shapes)("$of", async ({ x, w, attributes }) => {
    for (const bias of [true, false]) {
      const model: Sketch = {
        nodes: [node("Conv", bias ? "x w b" : "x w", "y", attributes)],
        weights: { w, ...(bias && { b: [w[0]!] }) },
        feeds: { x: floats(x) },
        outputs: ["y"],
      };
      for (const options of eightBits) {
        const wanted = { ...layer, ...(bias && { Reshape: 1, Add: 1 }) };
        expect(await expectNear(model, options)).toEqual(wanted);
      }
    }
  });

  it("with a bias that only a run tells", async () => {
    const model: Sketch = {
      nodes: [node("Conv", "x w b", "y")],
      weights: { w: [3, 2, 3, 3] },
      feeds: { x: floats([1, 2, 7, 7]), b: floats([3], 5) },
      outputs: ["y"],
    };
    expect(await expectNear(model)).toEqual({ ...layer, Reshape: 1, Add: 1 });
  });

  it("with a channel of zeros: they stay zeros", async () => {
    const data = Float32Array.from({ length: 27 }, (_, i) => (i < 9 ? 0 : Math.sin(i)));
    const model: Sketch = {
      nodes: [node("Conv", "x w", "y")],
      weights: { w: { shape: [3, 1, 3, 3], data } },
      feeds: { x: floats([1, 1, 7, 7]) },
      outputs: ["y"],
    };
    for (const options of eightBits) {
      const { before, bytes } = await rewritten(model, options);
      expect(await nearness(before, bytes, model.feeds)).toBeGreaterThan(NEAR);
      const { y } = await withSession(openNode(bytes), (session) => session.run(model.feeds));
      expect(new Set((y!.data as Float32Array).subarray(0, 25))).toEqual(new Set([0]));
    }
  });

  it("whose weight is no constant, or all of it, is left as it is", async () => {
    const feeds = { x: floats([1, 2, 7, 7]), w: floats([3, 2, 3, 3]) };
    await expectFloat({ nodes: [node("Conv", "x w b", "y")], weights: { b: [3] }, feeds, outputs: ["y"] }, []);
    const model: Sketch = {
      nodes: [node("Conv", "a b", "c"), node("Add", "c x", "y")],
      weights: { a: [1, 2, 3, 3], b: [2, 2, 3, 3] },
      feeds: { x: floats([1, 2, 1, 1]) },
      outputs: ["y"],
    };
    await expectFloat(model, ["Conv of two constants"]);
  });

  it("of any shape is near", async () => {
    const small = fc.integer({ min: 1, max: 6 });
    const kernel = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(small, small, small, kernel, fc.constantFrom(...eightBits), async (c, o, g, sides, options) => {
        const model: Sketch = {
          nodes: [node("Conv", "x w b", "y", { group: g, pads: sides.flatMap(() => [1, 0]) })],
          weights: { w: [g * o, c, ...sides], b: [g * o] },
          feeds: { x: floats([1, g * c, ...sides.map(() => 5)]) },
          outputs: ["y"],
        };
        await expectNear(model, options, 20);
      }),
      { numRuns: 25, seed: 3 },
    );
  });
});

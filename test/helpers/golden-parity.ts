import { beforeAll, describe, expect, it } from "vitest";
import { bytesSource } from "../../src/formats/byte-source.ts";
import { exactInt8Products, exactRuntimes } from "./exact-products.ts";
import { type Golden, goldenSource, moreGolden, outputDifferences, runBeside, worstOf } from "./golden.ts";
import { compareOutputs } from "./model-feeds.ts";
import { skipSuiteWithout, skipWithout } from "./needs.ts";
import { once } from "./once.ts";
import { graphDifferences, nameDifferences } from "./same-graph.ts";

/**
 * dB: what is left in floating point is added up in another order. That could move a code by one in the layers behind; in
 * most models it does not, and 116 and more are between the two builds.
 */
export const LEAST_BETWEEN_RUNTIMES = 100;

/** dB of those models in which it does. */
const movedCodes: Readonly<Record<string, number>> = { tiny_transformer: 40 };

/** Tests that a family has fixtures, and files beyond them: where there are none, a skipped test says so. */
export function testGoldenFilesAreThere(files: readonly Golden[], fixtures: readonly string[]): void {
  describe("files to compare with", () => {
    it("are among the fixtures", () => {
      expect(files.map(({ model }) => model)).toEqual(expect.arrayContaining([...fixtures]));
    });

    describe("beyond the fixtures", () => {
      skipSuiteWithout(...moreGolden);

      it("are there", () => {
        expect(files.some(({ model }) => !fixtures.includes(model))).toBe(true);
      });
    });
  });
}

/** Tests that what `make` writes is what the tool wrote, and gives the same. */
export function testParity(files: readonly Golden[], make: (golden: Golden) => Promise<Uint8Array>): void {
  describe.each(files)("$model $variant", (golden) => {
    let bytes: Uint8Array;
    beforeAll(async () => {
      bytes = await make(golden);
    });
    const outputs = once(() => runBeside(golden, bytes));

    it("has the same initializers and nodes", async () => {
      expect(await graphDifferences(bytesSource(bytes), goldenSource(golden))).toEqual([]);
    });

    it("has the same names", async () => {
      expect(await nameDifferences(bytesSource(bytes), goldenSource(golden))).toEqual([]);
    });

    it("gives the same bytes in onnxruntime-node and in onnxruntime-web", async () => {
      const { node, web } = await outputs();
      expect(outputDifferences(node.ours, node.theirs)).toEqual([]);
      expect(outputDifferences(web.ours, web.theirs)).toEqual([]);
    });

    it("gives about the same in both", async (context) => {
      if (!exactRuntimes(bytes).includes("node")) skipWithout(context, exactInt8Products);
      const { node, web } = await outputs();
      const least = golden.model in movedCodes ? movedCodes[golden.model]! : LEAST_BETWEEN_RUNTIMES;
      expect(worstOf(compareOutputs(node.ours, web.ours))).toBeGreaterThan(least);
    });
  });
}

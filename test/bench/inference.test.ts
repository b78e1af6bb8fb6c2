import { describe, expect, it } from "vitest";
import { findModels } from "../../bench/inference/models.ts";
import { interleave, orderOf, pairedRatio, repeatsOf } from "../../bench/inference/rounds.ts";
import { FLOAT, formatModel, formatSummary, type InferenceRow } from "../../bench/inference/table.ts";
import { UsageError } from "../../bench/options.ts";

describe("rounds", () => {
  it("pairedRatio compares within a round: a machine that slows down changes nothing", () => {
    expect(pairedRatio([2, 4, 20, 8], [1, 2, 10, 4])).toEqual({ ratio: 2, spread: 0 });
    expect(pairedRatio([2, 2, 300], [1, 1, 1])).toMatchObject({ ratio: 2 });
    expect(pairedRatio([1, 2, 3, 4, 5], [1, 1, 1, 1, 1]).spread).toBeCloseTo(66.67, 1);
  });

  it("each goes first in its turn", () => {
    expect([0, 1, 2, 3].map((round) => orderOf(round, 3).join(""))).toEqual(["012", "120", "201", "012"]);
  });

  it("interleave takes one sample of each in every round, between the least and the most", async () => {
    const calls: string[] = [];
    const runs = ["a", "b"].map((name) => async () => calls.push(name));
    const plan = { least: 2, most: 3, time: 0, sample: 0 };
    const samples = await interleave(runs, plan, () => {});
    expect(samples.map(({ length }) => length)).toEqual([2, 2]);
    expect(calls.slice(-4)).toEqual(["a", "b", "b", "a"]);
    const most = await interleave(runs, { ...plan, time: 60 }, () => {});
    expect(most.map(({ length }) => length)).toEqual([3, 3]);
  });

  it("short runs are repeated until a sample takes as long as it should", async () => {
    const wait = () => new Promise((done) => setTimeout(done, 2));
    expect(await repeatsOf(wait, 0.001)).toBe(1);
    expect(await repeatsOf(wait, 0.012)).toBeGreaterThanOrEqual(4);
  });
});

describe("tables", () => {
  const figure = { seconds: 0.001, spread: 1, rounds: 5, size: 0.25, sqnr: 30, noisy: false };
  const rows: InferenceRow[] = [
    { ...figure, model: "a", form: FLOAT, ratio: 1 },
    { ...figure, model: "a", form: "int8", ratio: 0.5, noisy: true },
    { model: "a", form: "int4", gap: "not made", reason: "nothing to quantize" },
    { model: "a", form: "float16", gap: "does not load", reason: "no kernel" },
    { model: "b", form: FLOAT, gap: "does not run", reason: "a shape" },
  ];

  it("say for each gap why it is there", () => {
    const lines = formatModel("a.onnx", rows).split("\n");
    expect(lines.find((line) => line.startsWith("int8 "))).toMatch(/1\.00 +0\.50 +1\.0 % +0\.25 +30\.0 dB +noisy$/);
    expect(lines).toContain("int4: nothing to quantize");
    expect(lines).toContain("float16: does not load: no kernel");
  });

  it("of all models are Markdown: models down, forms across", () => {
    expect(formatSummary(rows).split("\n")).toEqual([
      "| model | float ms | int8 | int4 | float16 |",
      "| --- | ---: | ---: | ---: | ---: |",
      "| a | 1.00 | 0.50* | - | does not load |",
      "| b | does not run | - | - | - |",
    ]);
  });
});

describe("models", () => {
  it("are found by name where the project has some", () => {
    const { paths, lines } = findModels(undefined, "digits");
    expect(paths[0]).toMatch(/digits\.onnx$/);
    expect(lines[0]).toBe("example/digits.onnx: digits.onnx");
  });

  it("are missed where there are none", () => {
    expect(() => findModels("no/such/folder", "")).toThrow(UsageError);
    expect(() => findModels(import.meta.dirname, "")).toThrow("no models");
  });
});

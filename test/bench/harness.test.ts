import { describe, expect, it } from "vitest";
import {
  batchOf,
  formatNumber,
  formatSize,
  formatTable,
  isNoisy,
  measure,
  parseSize,
  quantile,
  rateOf,
  ratioOf,
  timingOf,
} from "../../bench/harness.ts";
import { judge, type LimitFigure } from "../../bench/limits.ts";
import { groupNames, optionsOf } from "../../bench/options.ts";
import { firstDifference, formatElements, type PeerFigure } from "../../bench/peers.ts";
import { apart, plotOption, renderPlot } from "../../bench/plot.ts";

describe("figures", () => {
  it("quantile lies between the two nearest values", () => {
    expect(quantile([3, 1, 2], 0.5)).toBe(2);
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([10, 20], 0.25)).toBe(12.5);
    expect(quantile([7], 0.9)).toBe(7);
  });

  it("spread is the interquartile range in percent of the median, over all samples", () => {
    const timing = timingOf([1, 2, 3, 4, 5]);
    expect(timing.seconds).toBe(3);
    expect(timing.spread).toBeCloseTo(66.67, 1);
  });

  it("ratioOf is that of the medians: one stall on either side decides nothing", () => {
    const [slow, fast] = [timingOf([2, 200, 2]), timingOf([1, 1, 100])];
    expect(ratioOf(slow, fast)).toBe(2);
    expect(ratioOf(slow, fast)).toBe(rateOf(4, fast) / rateOf(4, slow));
  });

  it("isNoisy where either side is spread wide", () => {
    const [calm, wild] = [timingOf([10, 11, 12]), timingOf([10, 20, 30])];
    expect([isNoisy(calm, calm), isNoisy(calm, wild), isNoisy(wild, calm)]).toEqual([false, true, true]);
  });

  it("--check judges limits that are not noisy", () => {
    const limit = (name: string, ratio: number, noisy: boolean) =>
      ({ name, ratio, most: 1, noisy }) as unknown as LimitFigure;
    expect(judge([limit("a", 0.9, false), limit("b", 1.1, true)])).toEqual({
      kept: true,
      verdict: "nothing over its limit; 1 of 2 too noisy to be judged",
    });
    expect(judge([limit("a", 0.9, false), limit("b", 1.1, false)])).toEqual({
      kept: false,
      verdict: "over their limits: b",
    });
  });

  it("short calls are timed several at once", () => {
    expect([2 ** 16, 2 ** 20, 2 ** 27].map(batchOf)).toEqual([16, 1, 1]);
  });

  it("measure calls functions and awaits promises, all as often as the plan says", async () => {
    const calls = { now: 0, later: 0 };
    const tasks = {
      now: () => ++calls.now,
      later: async () => ++calls.later,
    };
    const timings = await measure(tasks, { rounds: 2, time: 0, calls: 4, warmupTime: 0, warmupCalls: 1 }, 3);
    // A probe, then three at once: one warm-up and two samples in each of two rounds.
    expect(calls).toEqual({ now: 16, later: 16 });
    expect(timings.now.seconds).toBeGreaterThan(0);
    expect(timings.later.seconds).toBeGreaterThan(0);
  });

  it("sizes are read and written", () => {
    expect(parseSize("64KiB")).toBe(65536);
    expect(parseSize(" 3 MiB")).toBe(3 * 2 ** 20);
    expect(parseSize("64KB")).toBeUndefined();
    expect(parseSize("MiB")).toBeUndefined();
    expect([65536, 2 ** 24, 2 ** 30].map(formatSize)).toEqual(["64 KiB", "16 MiB", "1 GiB"]);
    expect([2 ** 14, 2 ** 20, 2 ** 25].map(formatElements)).toEqual(["16 Ki", "1 Mi", "32 Mi"]);
  });

  it("numbers have three digits, columns one width", () => {
    expect([0.12345, 12.345, 1234.5, undefined].map(formatNumber)).toEqual(["0.123", "12.3", "1235", "-"]);
    expect(
      formatTable([
        ["a", "1"],
        ["bcd", "23"],
      ]),
    ).toBe("a     1\nbcd  23");
  });

  it("firstDifference finds where results part", () => {
    expect(firstDifference([1, 2, 3], [1, 2, 3], 0)).toBe(-1);
    expect(firstDifference([1, 2, 3], [1, 3, 3], 0)).toBe(1);
    expect(firstDifference([1, 2, 3], [1, 3, 3], 1)).toBe(-1);
    expect(firstDifference([1, 2, 3], [1, 2], 0)).toBe(2);
    expect(firstDifference([1], [Number.NaN], 1)).toBe(0);
  });
});

describe("options", () => {
  it("all groups, unless some are named or only kernels are meant", () => {
    expect(optionsOf([]).groups).toEqual(groupNames);
    expect(optionsOf(["--group", "peers, python"]).groups).toEqual(["peers", "python"]);
    expect(optionsOf(["--filter", "range"]).groups).toEqual(["kernels"]);
    expect(optionsOf(["--models", "folder"])).toMatchObject({ groups: ["inference"], models: "folder" });
    expect(optionsOf(["--group", "inference", "--filter", "digits"]).filter).toBe("digits");
    expect(optionsOf(["--size", "64KiB,1MiB"])).toMatchObject({ groups: ["kernels"], sizes: [2 ** 16, 2 ** 20] });
  });

  it.each([
    [["--group", "peer"], "there are kernels"],
    [["--size", "1KB"], "give a multiple of"],
    [["--group", "files", "--filter", "range"], "of --group kernels"],
    [["--group", "inference", "--size", "1MiB"], "of --group kernels"],
    [["--group", "kernels", "--models", "folder"], "of --group inference"],
    [["--group", "files", "--plot", "a.svg"], "of --group peers"],
    [["--group", "files", "--check"], "of --group limits"],
  ])("%j is refused", (args, message) => {
    expect(() => optionsOf(args)).toThrow(message);
  });
});

describe("plot", () => {
  const figure = (work: PeerFigure["work"], name: string, elements: number, rate: number): PeerFigure => {
    return { work, name, elements, rate, seconds: 1, spread: 0, ratio: 1, oursOverIts: 1, noisy: false };
  };
  const figures = (["QuantizeLinear", "DynamicQuantizeLinear", "range"] as const).flatMap((work) =>
    [2 ** 14, 2 ** 25].flatMap((elements) => [
      figure(work, "memory.copy", elements, 12),
      figure(work, "wasm-quant", elements, 11),
      figure(work, "wasm-quant, JavaScript's array, into out", elements, 5),
      figure(work, "plain JavaScript", elements, 0.3),
    ]),
  );

  it("labels stand apart, each as near to its place as that allows", () => {
    expect(apart([10, 100], 16)).toEqual([10, 100]);
    expect(apart([50, 50], 16)).toEqual([42, 58]);
    expect(apart([60, 50, 200], 16)).toEqual([63, 47, 200]);
    expect(apart([], 16)).toEqual([]);
  });

  it("has a panel for each operator, a line for each that was measured, and axes in powers", () => {
    const option = plotOption(figures, "a machine");
    const names = option.series.map(({ name, xAxisIndex }) => `${xAxisIndex} ${name}`);
    expect(names.toSorted()).toEqual([
      "0 memory.copy",
      "0 plain JavaScript",
      "0 wasm-quant",
      "1 memory.copy",
      "1 plain JavaScript",
      "1 wasm-quant",
    ]);
    expect(option.series[0]!.data).toEqual([
      [2 ** 14, 11],
      [2 ** 25, 11],
    ]);
    expect(option.xAxis.map(({ type, min, max }) => [type, min, max])).toEqual(
      Array(2).fill(["log", 2 ** 14, 2 ** 25]),
    );
    expect(option.yAxis.map(({ min, max }) => [min, max])).toEqual(Array(2).fill([0.1, 100]));
  });

  it("is an SVG with a background, the same for the same figures", () => {
    const svg = renderPlot(plotOption(figures, "a machine"));
    expect(svg).toMatch(/^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(svg).toContain('fill="#ffffff"');
    for (const text of ["wasm-quant", "plain JavaScript", "32 Mi", "a machine"])
      expect(svg).toContain(`>${text}</text>`);
    expect(renderPlot(plotOption(figures, "a machine"))).toBe(svg);
  });
});

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it, vi } from "vitest";
import type { TestModule } from "vitest/node";
import { skipWithout } from "../helpers/needs.ts";
import SkippedReporter, { summaryOf } from "./skipped.ts";

it("counts the tests of each note, the most frequent first", () => {
  const notes = [...new Array(2).fill("no pictures"), ...new Array(10).fill("no models"), "a pipe"];
  expect(summaryOf(notes).split("\n")).toEqual([
    "13 tests were skipped:",
    "  10  no models",
    "   2  no pictures",
    "   1  a pipe",
  ]);
  expect(summaryOf(["a pipe"])).toBe("1 test was skipped:\n  1  a pipe");
});

it("looks at skipped tests alone, and prints nothing where there are none", () => {
  const print = vi.spyOn(console, "log").mockImplementation(() => {});
  try {
    const moduleOf = (...results: object[]) => {
      const allTests = (state: string) => (state === "skipped" ? results.map((each) => ({ result: () => each })) : []);
      return { children: { allTests } } as unknown as TestModule;
    };
    new SkippedReporter().onTestRunEnd([moduleOf(), moduleOf()]);
    expect(print).not.toHaveBeenCalled();
    new SkippedReporter().onTestRunEnd([
      moduleOf({ state: "skipped", note: "a pipe" }),
      moduleOf({ state: "skipped" }),
    ]);
    expect(print.mock.calls.flat().join("\n")).toMatch(
      /^2 tests were skipped:\n {2}1 {2}a pipe\n {2}1 {2}no reason given/,
    );
  } finally {
    print.mockRestore();
  }
});

it("a need that is not met is the note, the first of several", () => {
  const skip = vi.fn() as unknown as Parameters<typeof skipWithout>[0]["skip"];
  skipWithout({ skip }, { met: true, lack: "a" });
  expect(skip).not.toHaveBeenCalled();
  skipWithout({ skip }, { met: true, lack: "a" }, { met: false, lack: "b" }, { met: false, lack: "c" });
  expect(skip).toHaveBeenCalledExactlyOnceWith("b");
});

it("one file alone knows where data lies that is not in the repository", () => {
  const folder = resolve(import.meta.dirname, "..");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const outside = /["'`](\.\.\/)+shared\b/;
  expect(files.filter((name) => outside.test(readFileSync(join(folder, name), "utf8")))).toEqual([
    join("helpers", "needs.ts"),
  ]);
});

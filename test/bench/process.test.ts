import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { figuresOf, formatFigures, ProcessError, program, race } from "../../bench/process.ts";

let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "wasm-quant-race-"));
});

afterAll(() => rm(root, { recursive: true, force: true }));

function node(script: string) {
  return program("node", () => [process.execPath, "-e", script]);
}

function failure(script: string): Promise<unknown> {
  return race([node(script)], join(root, "out"), 1, () => {}).catch((error) => error);
}

describe("race", () => {
  it("takes turns, each into an empty folder; the first round does not count", async () => {
    const runs: string[] = [];
    const contender = (name: string, seconds: number) => ({
      name,
      run: async (folder: string) => {
        runs.push(name);
        await writeFile(join(folder, name), "12345");
        return { seconds, peak: 0 };
      },
    });
    const outcomes = await race([contender("one", 1), contender("other", 3)], join(root, "out"), 2, () => {});
    expect(runs).toEqual(["one", "other", "one", "other", "one", "other"]);
    expect(outcomes.map(({ bytes }) => bytes)).toEqual([5, 5]);
    const figures = figuresOf("work", outcomes);
    expect(figures.map(({ ratio, peak, noisy }) => [ratio, peak, noisy])).toEqual([
      [1, undefined, false],
      [3, undefined, false],
    ]);
    expect(formatFigures(figures)).toContain("time/one");
  });

  it("a program that fails is an error of the line with its reason", async () => {
    const error = await failure("console.error('wasm-quant: a: is broken'); process.exit(1)");
    expect(error).toBeInstanceOf(ProcessError);
    expect(error).toMatchObject({ message: "wasm-quant: a: is broken", code: 1, isUnsuited: false });
    expect(await failure("throw new TypeError('no')")).toMatchObject({ message: "TypeError: no", code: 1 });
    expect(await failure("process.exit(3)")).toMatchObject({ message: expect.stringContaining("exit code 3") });
  });

  it("an option that is for other files is told from other failures", async () => {
    const said = "wasm-quant: --mode: is for ONNX models; this is a file of tensors";
    expect(await failure(`console.error(${JSON.stringify(said)}); process.exit(2)`)).toMatchObject({
      message: said,
      isUnsuited: true,
    });
  });
});

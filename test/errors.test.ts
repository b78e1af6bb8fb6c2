import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { typedText } from "../src/cli/words.ts";
import {
  ArgumentError,
  FileError,
  FormatError,
  MemoryError,
  NonFiniteError,
  UnchangedError,
  type WasmQuantError,
  WorkerError,
} from "../src/errors.ts";
import { formatWord, option, textOf, words } from "../src/messages.ts";
import { withErrorContext } from "../src/pipeline/error-context.ts";
import { plainError, revivedError } from "../src/workers/sent-errors.ts";

// Errors are data: a code, fields, and a message whose options a program can word anew.

const errors: readonly [error: WasmQuantError, code: string, message: string][] = [
  [new ArgumentError("axis", "5 given"), "invalid-argument", "axis: 5 given"],
  [new ArgumentError("x", "no such option", { code: "unknown-option" }), "unknown-option", "x: no such option"],
  [new FormatError("a.onnx", "is cut short"), "invalid-file", "a.onnx: is cut short"],
  [
    new FormatError("a.onnx", words`has opset 7; ${option("opset", 13)} raises it`, "w"),
    "invalid-file",
    'a.onnx: tensor "w": has opset 7; opset: 13 raises it',
  ],
  [new FileError("a", "exists already", { code: "exists" }), "exists", "a: exists already"],
  [new NonFiniteError(Number.NaN, 3, "w"), "non-finite", 'tensor "w" holds NaN at flat index 3; a range needs finite'],
  [new MemoryError("4 GiB do not hold it"), "out-of-memory", "4 GiB do not hold it"],
  [new WorkerError("ended", "w"), "worker-failed", 'tensor "w": ended'],
  [new UnchangedError("a.onnx", "0 of 2"), "unchanged", "a.onnx: 0 of 2; allowUnchanged: true copies it as it is"],
  [
    new UnchangedError("a.onnx", "0 of 2", { remedy: { dtype: "int8", bits: undefined } }),
    "unchanged",
    'a.onnx: 0 of 2; try { dtype: "int8" } without bits',
  ],
];

describe("an error", () => {
  it.each(errors)("%s has a code, and its message in parts", (error, code, message) => {
    expect(error.code).toBe(code);
    expect(error.message.startsWith(message)).toBe(true);
    expect(textOf(error.words)).toBe(error.message);
  });

  it.each(errors)("%s is the same once another thread has sent it", (error) => {
    const revived = revivedError(structuredClone(plainError(error)));
    expect(revived).toMatchObject({ message: error.message, code: error.code, words: error.words });
  });

  it.each(errors)("%s has a code that is documented", ({ code }) => {
    const table = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8");
    expect(table).toContain(`| \`${code}\` |`);
  });

  it("about a tensor's data names file and tensor, and keeps code and options", async () => {
    const data = async () => {
      const detail = words`is too large; ${option("clamp", true)} makes it fit`;
      throw new ArgumentError("data", detail, { code: "out-of-range" });
    };
    const message = 'a.onnx: tensor "w": is too large; clamp: true makes it fit';
    const wanted = { tag: "format", code: "out-of-range", message };
    await expect(withErrorContext("a.onnx", "w", data())).rejects.toMatchObject(wanted);
  });
});

describe("the command words", () => {
  it.each([
    [words`raise it (${option("opset", 13)})`, "raise it (--opset 13)"],
    [words`${option("again", true)} does`, "--again does"],
    [words`${option("perChannel", false)} does`, "--per-tensor does"],
    [words`take ${formatWord("qdq")}`, "take --format qdq"],
    [words`${option("exclude")} leaves it`, "--exclude leaves it"],
    [
      new FormatError("a", words`${option("exclude", undefined, "exclude it")}`).words,
      "a: exclude it (--exclude GLOB)",
    ],
  ])("%o as %s", (text, typed) => {
    expect(typedText(text)).toBe(typed);
  });

  it("an argument that has no option as the library does", () => {
    const { words } = new ArgumentError("shape", "[-1] given");
    expect(typedText(words, () => undefined)).toBe("shape: [-1] given");
    expect(typedText(words, (name) => `--${name}`)).toBe("--shape: [-1] given");
  });
});

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { argmax } from "../../example/network.ts";
import { type Feed, openWeb, withSession } from "../helpers/sessions.ts";

// What `npm start` runs after the build, as it runs it.
const root = join(import.meta.dirname, "../..");
const at = (name: string) => join(root, "example", name);

async function start(...flags: string[]): Promise<string[]> {
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [...flags, "--import", "tsx", "example/start.ts"],
    { cwd: root },
  );
  expect(stderr).toBe("");
  return stdout.split("\n");
}

const line =
  /^(\S+) +([\d.]+) kB {2}(\d+) of 400 right \((\d+\.\d) %\) {2}\d+\.\d{3} ms an image(?: {2}(0\.\d{3}) of the size, quantized in \d+ ms)?$/;

it("quantizes the digit reader to less than a third and reads as many images right, or 4 fewer", async () => {
  const [before, after, ...rest] = (await start()).map((text) => line.exec(text) ?? text);
  expect(rest).toEqual([""]);
  expect(before).toMatchObject({ 1: "digits.onnx", 2: "164.5", 3: "394", 4: "98.5", 5: undefined });
  expect(after).toMatchObject({ 1: "digits.int8.onnx" });
  expect(Number(after![3])).toBeGreaterThanOrEqual(394 - 4);
  expect(Number(after![5])).toBeLessThanOrEqual(0.3);

  // The figures are those of the file: its length, and what browsers make of it.
  const [model, original] = await Promise.all([readFile(at("digits.int8.onnx")), readFile(at("digits.onnx"))]);
  expect(after![2]).toBe((model.length / 1000).toFixed(1));
  expect(after![5]).toBe((model.length / original.length).toFixed(3));
  const right = await withSession(openWeb(new Uint8Array(model)), async (session) => {
    const { scores } = await session.run({ image: await images() });
    return countRight(scores!.data as Float32Array, await npyData("digits-labels.npy"));
  });
  expect(Math.abs(right - Number(after![3]))).toBeLessThanOrEqual(1);
});

it("without onnxruntime-node says so in one line and quantizes all the same", async () => {
  const hide = `
    export function resolve(name, context, next) {
      if (name !== "onnxruntime-node") return next(name, context);
      throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
    }`;
  const asUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
  const register = `import { register } from "node:module"; register(${JSON.stringify(asUrl(hide))});`;
  expect(await start("--import", asUrl(register))).toEqual([
    "accuracy is not measured: onnxruntime-node: is not installed: npm install onnxruntime-node",
    "digits.onnx       164.5 kB",
    expect.stringMatching(/^digits\.int8\.onnx {3}43\.\d kB {2}0\.\d{3} of the size, quantized in \d+ ms$/),
    "",
  ]);
});

async function images(): Promise<Feed> {
  const bytes = await npyData("digits-images.npy");
  return { dims: [400, 1, 20, 20], data: Float32Array.from(bytes, (byte) => byte / 255) };
}

async function npyData(name: string): Promise<Uint8Array> {
  const file = await readFile(at(name));
  return new Uint8Array(file.subarray(10 + file.readUInt16LE(8)));
}

function countRight(scores: Float32Array, labels: Uint8Array): number {
  return labels.filter((label, i) => argmax(scores.subarray(i * 10, i * 10 + 10)) === label).length;
}

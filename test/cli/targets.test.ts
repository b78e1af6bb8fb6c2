import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { runnerIn } from "../helpers/command.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";

// `inspect --target` of the built command; what is said of each op is in ../onnx/targets.test.ts.
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  await writeFile(join(folder, "model.onnx"), dynamic);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const run = runnerIn(() => folder);

const layers = ["a", "b", "c"];
/** Three layers that compute in integers, after one in floating point. */
const dynamic = model({
  opsets: { "": 17 },
  graph: graph({
    nodes: [
      node("MatMul", "x fc.weight", "h"),
      node("DynamicQuantizeLinear", "h", "q s z"),
      ...layers.flatMap((name) => [
        node("MatMulInteger", "q w z", `${name}i`, {}, { name: `layer ${name}` }),
        node("Cast", `${name}i`, name, { to: 1 }),
      ]),
    ],
    initializers: [
      tensor("fc.weight", "float32", [8, 8], new Array(64).fill(0.5)),
      tensor("w", "int8", [8, 4], new Array(32).fill(1)),
    ],
    inputs: [value("x", "float32[n,8]")],
    outputs: layers.map((name) => value(name, "float32[n,4]")),
  }),
});

it("lists equal findings in one line, before the weights", async () => {
  const { code, stdout, stderr } = await run("inspect", "model.onnx", "--target", "webgpu");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [heading, ...lines] = stdout.split("\n\n")[1]!.split("\n");
  expect(heading).toMatch(/^on webgpu +op +nodes +first$/);
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^falls back +DynamicQuantizeLinear +1 +DynamicQuantizeLinear_of_q +no WebGPU kernel: /);
  expect(lines[1]).toMatch(
    /^falls back +MatMulInteger +3 +layer a, layer b, \.\.\. +no WebGPU kernel: .*; .*MatMulNBits/,
  );
  expect(stdout).toMatch(/\n\nop +weight +shape/);
});

it("--json has each node", async () => {
  const { stdout } = await run("inspect", "model.onnx", "--target", "node", "--json");
  const { target, findings } = JSON.parse(stdout);
  expect(target).toBe("node");
  expect(findings).toEqual(
    layers.map((name) => ({
      node: `layer ${name}`,
      op: "MatMulInteger",
      severity: "inexact",
      reason: expect.stringContaining("VNNI"),
      advice: expect.any(String),
    })),
  );
  expect(JSON.parse((await run("inspect", "model.onnx", "--json")).stdout)).not.toHaveProperty("findings");
});

it("says so where nothing is known", async () => {
  const { stdout } = await run("inspect", "model.onnx", "--target", "web-wasm");
  expect(stdout).toContain("\n\nweb-wasm: nothing known against it\n\n");
});

it("refuses other targets, and files of tensors", async () => {
  const mars = await run("inspect", "model.onnx", "--target", "mars");
  expect(mars).toMatchObject({
    code: 2,
    stdout: "",
    stderr: expect.stringMatching(/--target.*mars.*node, web-wasm, webgpu/),
  });
  await writeFile(join(folder, "t.safetensors"), await safetensorsFile([f32("w", [8, 64])]));
  const tensors = await run("inspect", "t.safetensors", "--target", "node");
  expect(tensors).toEqual({
    code: 2,
    stdout: "",
    stderr: "wasm-quant: --target: is for ONNX models; this is a file of tensors\n",
  });
});

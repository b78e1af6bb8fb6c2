import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { renderModel } from "../../../src/cli/model-tables.ts";
import { bytesSource, createEngine, inspectModel, type ModelInspection } from "../../../src/index.ts";
import {
  failsIn,
  formatVerdicts,
  newestOpset,
  runtimeNeeds,
  versionRemarks,
} from "../../../src/onnx/targets/runtime-versions.ts";
import type { TargetFinding } from "../../../src/onnx/targets/target.ts";
import { graph, model, node, value } from "../../helpers/onnx-build.ts";
import { tensor } from "../../helpers/onnx-tensors.ts";
import { quantizerOf } from "../../helpers/quantized.ts";
import { normalsOf } from "../../helpers/random.ts";

const engine = await createEngine();
const quantize = quantizerOf(() => engine);

/** A MatMul and a Conv. */
function layers(opset = 17): Uint8Array {
  return model({
    opsets: { "": opset },
    graph: graph({
      nodes: [node("MatMul", "x w", "a"), node("Reshape", "a shape", "b"), node("Conv", "b k", "y")],
      initializers: [
        tensor("w", "float32", [64, 64], normalsOf(1, 4096)),
        tensor("k", "float32", [8, 8, 3, 3], normalsOf(2, 576)),
        tensor("shape", "int64", [4], [1, 8, 4, 4]),
      ],
      inputs: [value("x", "float32[2,64]")],
      outputs: [value("y", "float32")],
    }),
  });
}

const finding = (severity: TargetFinding["severity"], reason: string, upTo?: string, op?: string): TargetFinding => ({
  ...{ severity, reason, upTo, op },
});

describe("what versions run", () => {
  it("is known from the oldest version on that package.json allows", () => {
    const { peerDependencies } = JSON.parse(readFileSync(resolve("package.json"), "utf8"));
    expect(peerDependencies["onnxruntime-node"]).toBe(">=1.20");
    const verdicts = [...formatVerdicts({ opsets: new Map([["", 22]]), irVersion: 8 })];
    expect(verdicts).toEqual([{ severity: "fails", reason: "opset 22", upTo: "1.20.1" }]);
  });

  it("depends on the opset and the IR version", () => {
    const upTo = (opset: number, irVersion: number) =>
      [...formatVerdicts({ opsets: new Map([["", opset]]), irVersion })].map((each) => [each.reason, each.upTo]);
    expect(upTo(21, 10)).toEqual([]);
    expect(upTo(23, 11)).toEqual([
      ["opset 23", "1.22.0"],
      ["IR version 11", "1.22.0"],
    ]);
    expect(upTo(24, 10)).toEqual([["opset 24", "1.23.2"]]);
    expect(upTo(26, 10)).toEqual([["opset 26", "1.24.3"]]);
    expect(upTo(newestOpset + 1, 10)).toEqual([[`opset ${newestOpset + 1}`, undefined]]);
    expect(upTo(17, 14)).toEqual([["IR version 14", "1.29.0"]]);
  });

  it("compares versions by their numbers", () => {
    const until = finding("fails", "", "1.9.2");
    expect(["1.9.1", "1.9.2", "1.9.3", "1.10.0", "1.31.0-dev"].map((version) => failsIn(version, until))).toEqual([
      ...[true, true, false, false, false],
    ]);
    expect(failsIn("1.30.0", finding("fails", ""))).toBe(true);
    expect(failsIn("1.20.1", finding("slow", "", "1.30.0"))).toBe(false);
  });

  it("is said once for nodes alike, that of the newest version first", () => {
    const findings = [
      finding("slow", "slow", "1.24.3", "Conv"),
      finding("fails", "a", "1.20.1", "Conv"),
      finding("fails", "b", "1.27.0", "Conv"),
      finding("fails", "b", "1.27.0", "MatMul"),
      finding("fails", "c", undefined, "MatMul"),
      finding("fails", "opset 22", "1.20.1"),
    ];
    expect(runtimeNeeds(findings)).toEqual([
      { version: undefined, reason: "c", nodes: 1 },
      { version: "1.29", reason: "b", nodes: 2 },
      { version: "1.21", reason: "a", nodes: 1 },
      { version: "1.21", reason: "opset 22", nodes: 0 },
    ]);
    expect(versionRemarks(findings).map(({ code, message }) => [code, message])).toEqual([
      ["runtime-support", "fails in ONNX Runtime up to 1.30: c (1 node)"],
      [
        "runtime-version",
        "needs ONNX Runtime 1.29 or newer: b (2 nodes); a (1 node), from 1.21 on; opset 22, from 1.21 on",
      ],
    ]);
  });
});

describe("reports", () => {
  it.each([
    [{ mode: "dynamic", dtype: "int8", opTypes: ["Conv"] }, "1.24 or newer: ConvInteger with int8 operands (1 node)"],
    [{ mode: "dynamic", dtype: "int8", like: "onnxruntime" }, "1.24 or newer: ConvInteger with int8 operands (1 node)"],
    [{ format: "nbits", bits: 8 }, "1.23 or newer: 8-bit MatMulNBits (1 node)"],
    [{ format: "nbits", bits: 2 }, "1.24 or newer: 2-bit MatMulNBits (1 node)"],
    [{ format: "nbits", bits: 8, accuracyLevel: 4 }, "1.22 or newer: 8-bit MatMulNBits (1 node)"],
    [{ opset: 22 }, "1.21 or newer: opset 22"],
  ] as const)("%j", async (options, expected) => {
    const { bytes, report } = await quantize(layers(), options);
    const said = (report.remarks ?? []).filter(({ code }) => code === "runtime-version");
    expect(said.map(({ message }) => message)).toEqual([`needs ONNX Runtime ${expected}`]);
    const inspection = (await inspectModel(engine, bytesSource(bytes, "m.onnx"))) as ModelInspection;
    expect(renderModel("m.onnx", inspection)).toContain(`\nneeds   ONNX Runtime ${expected}\n`);
  });

  it.each([
    ...[{}, { format: "qdq" }, { mode: "dynamic" }, { mode: "dynamic", opTypes: ["Conv"] }, { dtype: "int4" }],
    { dtype: "float16" },
  ] as const)("%j runs in all versions, and nothing is said", async (options) => {
    const { bytes, report } = await quantize(layers(), options);
    expect((report.remarks ?? []).filter(({ code }) => code.startsWith("runtime"))).toEqual([]);
    const inspection = (await inspectModel(engine, bytesSource(bytes, "m.onnx"))) as ModelInspection;
    expect(inspection.runtimeNeeds).toEqual([]);
  });

  it("inspect says what no version runs", async () => {
    const nodes = [node("Foo", "x", "y", {}, { domain: "foo.bar" })];
    const foreign = graph({ nodes, inputs: [value("x", "float32[2]")], outputs: [value("y", "float32[2]")] });
    const bytes = model({ opsets: { "": 17, "foo.bar": 1 }, graph: foreign });
    const inspection = (await inspectModel(engine, bytesSource(bytes, "m.onnx"))) as ModelInspection;
    expect(renderModel("m.onnx", inspection)).toContain(
      "\nfails   in ONNX Runtime up to 1.30: neither ONNX nor ONNX Runtime has this op (1 node)\n",
    );
  });
});

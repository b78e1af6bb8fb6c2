import { expect, it } from "vitest";
import { toJson } from "../../src/cli/tensor-tables.ts";
import { option, words } from "../../src/messages.ts";
import { remark } from "../../src/pipeline/model-report.ts";

it("has remarks without their parts, and a file's own names as they are", () => {
  const remarks = [remark("opset-raised", words`raised (${option("opset", 13)})`)];
  const metadata = { words: "kept" };
  const nodes = { words: 3 };
  expect(JSON.parse(toJson({ remarks, metadata, nodes, sqnr: Number.POSITIVE_INFINITY }))).toEqual({
    remarks: [{ code: "opset-raised", message: "raised (opset: 13)" }],
    metadata,
    nodes,
    sqnr: "Infinity",
  });
});

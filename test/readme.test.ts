import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("the README's examples run as they are written", async () => {
  const readme = await readFile("README.md", "utf8");
  const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]!);
  const runnable = blocks.filter((block) => !/\?url|wasm-quant\/browser/.test(block));
  expect([blocks.length, runnable.length]).toEqual([9, 7]);

  const folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  try {
    const { version, type, exports } = JSON.parse(await readFile("package.json", "utf8"));
    const manifest = { name: "wasm-quant", version, type, exports };
    await writeFile(join(folder, "package.json"), JSON.stringify(manifest)); // a package may import itself by name
    for (const name of ["dist", "example", "node_modules"]) await symlink(resolve(name), join(folder, name));
    const print =
      "console.log(JSON.stringify([q.data.length, report.tensors.length, engine.error(x, q).sqnr > 40, comparison.outputs[0].comparison.top1, files.length]));";
    const code = `${runnable.join("\n")}\n${print}\n`;
    await writeFile(join(folder, "readme.js"), code);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ["readme.js"], { cwd: folder });
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual([1728, 4, true, 1, 2]);
    const made = ["digits.int8.onnx", "digits_fp16.onnx", "digits_quantized.onnx"];
    expect(await readdir(folder)).toEqual(expect.arrayContaining(made));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { main, runnerIn } from "../helpers/command.ts";
import { DEFLATED, npy, zip } from "../helpers/npz.ts";
import { differingFile, readFiles, shardedCheckpoint, writeFiles } from "../helpers/shards.ts";

// The built command on checkpoints of several files, and on folders.

const shards = [
  await safetensorsFile([f32("model.q_proj.weight", [16, 64]), f32("model.k_proj.weight", [8, 64], 2)]),
  await safetensorsFile([f32("model.norm.weight", [64], 3), f32("lm_head.weight", [32, 64], 4)]),
];
const checkpoint = await shardedCheckpoint(shards);
const config = '{\n  "model_type": "llama"\n}\n';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  await writeFiles(join(folder, "llm"), { ...checkpoint, "config.json": config });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const run = runnerIn(() => folder);
const at = (...names: string[]) => join(folder, ...names);
const fails = (stderr: string) => ({ code: 1, stdout: "", stderr: `wasm-quant: ${stderr}\n` });

describe("shards", () => {
  it("become shards beside them, and floats again", async () => {
    const { code, stdout, stderr } = await run("llm/model.safetensors.index.json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/\nllm\/model\.int8\.safetensors\.index\.json: 3 of 4 tensors quantized, /);
    const made = ["model.int8-00001-of-00002.safetensors", "model.int8-00002-of-00002.safetensors"];
    expect((await readdir(at("llm"))).filter((name) => name.includes("int8"))).toEqual([
      ...made,
      "model.int8.safetensors.index.json",
    ]);
    const shown = await run("inspect", "llm/model.int8.safetensors.index.json");
    expect(shown.stdout).toMatch(/^llm\/model\.int8\.safetensors\.index\.json: safetensors in 2 files, 4 tensors, /);
    expect((await run("dequantize", "llm/model.int8.safetensors.index.json", "-o", "back/")).code).toBe(0);
    expect(await readdir(at("back"))).toEqual([
      "model.float-00001-of-00002.safetensors",
      "model.float-00002-of-00002.safetensors",
      "model.float.safetensors.index.json",
    ]);
  });

  it("are the same with threads and little memory; in another folder too", async () => {
    expect((await run("llm", "-o", "a/", "--threads", "1")).code).toBe(0);
    expect((await run("llm", "-o", "b/", "--threads", "2", "--memory", "150MB")).code).toBe(0);
    expect(differingFile(await readFiles(at("a")), await readFiles(at("b")))).toBeUndefined();
  });

  it("keep what is there, and need an index for a name", async () => {
    await writeFile(at("llm", "model.int8-00002-of-00002.safetensors"), "precious");
    const before = await readFiles(at("llm"));
    expect(await run("llm")).toEqual(
      fails("llm/model.int8-00002-of-00002.safetensors: exists already; --force replaces it, -o names another"),
    );
    const { code, stderr } = await run("llm", "-o", "one.safetensors");
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        "--output: expected the name of a .safetensors.index.json file; got one.safetensors",
      ),
    });
    expect(differingFile(before, await readFiles(at("llm")))).toBeUndefined();
    expect((await run("llm", "--force")).code).toBe(0);
  });

  it("are not the index itself", async () => {
    const index = "me.safetensors.index.json";
    await writeFiles(at("llm"), { [index]: JSON.stringify({ weight_map: { a: index } }) });
    expect(await run("inspect", `llm/${index}`)).toEqual(
      fails(`llm/${index}: tensor "a": its shard is said to be this file, which is the index itself`),
    );
  });

  it("that are missing are named", async () => {
    await rm(at("llm", "model-00002-of-00002.safetensors"));
    const { code, stderr } = await run("llm", "-o", "out/");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasm-quant: llm\/model.safetensors.index.json: tensor "model.norm.weight": its shard /);
    expect(await readdir(folder)).toEqual(["llm"]);
  });

  it("leave nothing behind after Ctrl-C", async () => {
    const one = f32("layer", [512, 512]);
    const layers = (from: number) =>
      safetensorsFile(Array.from({ length: 100 }, (_, i) => ({ ...one, name: `layer.${from + i}.weight` })));
    await writeFiles(at("large"), await shardedCheckpoint([await layers(0), await layers(100)]));
    const child = spawn(process.execPath, [main, "large", "-o", "out/", "--threads", "2"], { cwd: folder });
    const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
    while ((await readdir(at("out")).catch(() => [])).length < 3)
      await new Promise((resolve) => setTimeout(resolve, 2));
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    expect((await readdir(folder)).sort()).toEqual(["large", "llm"]);
  });
});

describe("a folder", () => {
  it("stands for its checkpoint where there is one", async () => {
    await writeFiles(at("one"), { "weights.safetensors": shards[0]!, "notes.txt": "" });
    expect((await run("one")).stdout).toContain("one/weights.int8.safetensors: 2 of 2 tensors");
    expect(await run("inspect", "one")).toEqual(
      fails("one: is a folder with several checkpoints (weights.int8.safetensors, weights.safetensors); name one"),
    );
    await writeFiles(at("llm"), { "model.safetensors": shards[0]! });
    expect((await run("llm")).stderr).toContain("(model.safetensors, model.safetensors.index.json); name one");
    await writeFiles(at("none"), { "model.bin": "" });
    expect(await run("none")).toEqual(fails("none: is a folder without safetensors files; name a file in it"));
  });
});

describe(".npz", () => {
  it("becomes a safetensors file", async () => {
    const { data, values } = f32("w", [8, 64]);
    await writeFile(at("arrays.npz"), await zip(["w.npy", npy("<f4", [8, 64], values), DEFLATED]));
    const { stdout, code } = await run("arrays.npz", "--threads", "2");
    expect(code).toBe(0);
    expect(stdout).toMatch(/w +8 x 64 +F32 -> int8 .*\n\narrays\.int8\.safetensors: 1 of 1 tensors/);
    expect((await run("dequantize", "arrays.int8.safetensors", "-o", "w.npy")).code).toBe(0);
    expect((await readFile(at("w.npy"))).length).toBe(128 + data.length);
    expect((await run("inspect", "arrays.npz")).stdout).toMatch(/^arrays\.npz: npz, 1 tensors, /);
  });
});

describe("--layout compressed-tensors", () => {
  const layout = ["--layout", "compressed-tensors"];

  it("makes a folder that loaders take: names as they were, config.json with the quantization", async () => {
    const { code, stdout, stderr } = await run("llm", ...layout, "--dtype", "int4", "--block-size", "32");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      /llm\.int4\/model\.safetensors\.index\.json: 2 of 4 tensors quantized, .*\nconfig\.json is written beside it: /,
    );
    expect(await readdir(at("llm.int4"))).toEqual(["config.json", ...Object.keys(checkpoint).sort()]);
    const written = JSON.parse(await readFile(at("llm.int4", "config.json"), "utf8"));
    expect(written).toMatchObject({ model_type: "llama", quantization_config: { quant_method: "compressed-tensors" } });
    expect(await readFile(at("llm", "config.json"), "utf8")).toBe(config);
    expect((await run("llm", ...layout)).stdout).toContain("llm.int8/model.safetensors.index.json");
    expect((await run("llm/model.safetensors.index.json", ...layout, "--json")).stdout).toContain(
      '"output": "llm/model.int8/model.safetensors.index.json"',
    );
    const { stderr: refused } = await run("dequantize", "llm.int4");
    expect(refused).toMatch(/^wasm-quant: llm\.int4\/.*: is in the layout of compressed-tensors, [^\n]*\n$/);
  });

  it("never goes where the float model's config.json is", async () => {
    for (const force of [[], ["--force"]]) {
      expect(await run("llm", ...layout, "-o", "llm/", ...force)).toEqual(
        fails("llm/config.json: is the float model's, and the output has one of its own; name a folder (-o llm.int8/)"),
      );
    }
    expect((await readdir(at("llm"))).length).toBe(4);
    await rm(at("llm", "config.json"));
    const { code, stdout } = await run("llm", ...layout, "-o", "llm/small.safetensors.index.json");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /\nno config\.json to add to \(llm\/config\.json: .*\): .* is beside the output in small\.quantization_config\.json\n$/,
    );
  });

  it("says which option does not go with it", async () => {
    const usage = async (...options: string[]) => {
      const { code, stderr } = await run("llm", ...layout, ...options);
      return `${code} ${stderr}`;
    };
    expect(await usage("--asymmetric")).toMatch(/^2 wasm-quant: --asymmetric: compressed-tensors: vLLM has no kernel/);
    expect(await usage("--block-size", "48")).toMatch(/^2 wasm-quant: --block-size: compressed-tensors: 48 given/);
    expect(await usage("--dtype", "int16")).toMatch(/^2 wasm-quant: --dtype: compressed-tensors: int16 given/);
    expect(await usage("--exclude", "*k_proj*")).toMatch(
      /^1 wasm-quant: .*"model.q_proj.weight": would be quantized and model.k_proj not, of which vLLM makes one layer; /,
    );
    expect((await readdir(folder)).sort()).toEqual(["llm"]);
  });
});

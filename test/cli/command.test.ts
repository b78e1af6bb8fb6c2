import { exec, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytesSource, readSafetensorsHeader } from "../../src/index.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { main, processIn, type Result, runnerIn } from "../helpers/command.ts";
import { device, program, skipWithout } from "../helpers/needs.ts";

// The built command, as users run it: streams, exit codes, files. `npm test` builds before.

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  await writeFile(
    join(folder, "model.safetensors"),
    await safetensorsFile([f32("fc.weight", [8, 64]), f32("fc.bias", [8])]),
  );
});
afterEach(() => rm(folder, { recursive: true, force: true }));

// Most calls are made in a thread; processes show that nothing is different there.
const run = runnerIn(() => folder);
const runProcess = processIn(() => folder);

const oneLine = /^wasm-quant: [^\n]*\n$/;

describe("quantize", () => {
  it("writes beside the input and prints a table and totals; nothing on stderr", async () => {
    const { code, stdout, stderr } = await runProcess("model.safetensors");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^tensor +shape +dtype +error +before +after\n/);
    expect(stdout).toMatch(/fc\.weight +8 x 64 +F32 -> int8 +\d\d\.\d dB +2\.05 kB +552 B\n/);
    expect(stdout).toMatch(/fc\.bias +8 +F32 +32 B +32 B +copied: one dimension\n/);
    expect(stdout).toMatch(/model\.int8\.safetensors: 1 of 2 tensors quantized, .* of the input\), \d\.\d\d s\n$/);
    expect((await readdir(folder)).sort()).toEqual(["model.int8.safetensors", "model.safetensors"]);
  });

  it("takes -o, options of the engine, and the word itself", async () => {
    const { code } = await run(
      "quantize",
      "model.safetensors",
      "-o",
      "small.safetensors",
      "--dtype",
      "uint4",
      "--block-size",
      "16",
    );
    expect(code).toBe(0);
    const file = await readFile(join(folder, "small.safetensors"));
    const { tensors } = await readSafetensorsHeader(bytesSource(file));
    expect(tensors[0]).toMatchObject({ name: "fc.weight", dtype: "U8", shape: [256] });
    expect(tensors[1]).toMatchObject({ name: "fc.weight.scale", shape: [8, 4] });
  });

  it.each([
    [["--per-tensor"], "symmetric", undefined],
    [["--asymmetric"], "asymmetric", 0],
    [["--scheme", "float-offset", "--axis", "-1"], "float-offset", 1],
    [["--symmetric", "--dtype", "uint8"], "symmetric", 0],
  ])("%j", async (options, scheme, axis) => {
    expect((await run("model.safetensors", "-o", "x.safetensors", ...options)).code).toBe(0);
    const { metadata } = await readSafetensorsHeader(bytesSource(await readFile(join(folder, "x.safetensors"))));
    expect(JSON.parse(metadata.wasm_quant!).tensors[0]).toMatchObject({
      scheme,
      ...(axis !== undefined && { axis }),
    });
  });

  it("--json prints the same for programs, --quiet nothing", async () => {
    const { stdout } = await run("model.safetensors", "--json");
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ input: "model.safetensors", output: "model.int8.safetensors" });
    expect(report.tensors[0]).toMatchObject({
      name: "fc.weight",
      from: "F32",
      to: "int8",
      bytesBefore: 2048,
      bytesAfter: 552,
    });
    expect(report.bytesAfter).toBe((await readFile(join(folder, "model.int8.safetensors"))).length);
    expect(await run("model.safetensors", "--quiet", "--force")).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it("keeps an existing output unless --force is given", async () => {
    await writeFile(join(folder, "model.int8.safetensors"), "precious");
    const { code, stderr } = await run("model.safetensors");
    expect(code).toBe(1);
    expect(stderr).toBe("wasm-quant: model.int8.safetensors: exists already; --force replaces it, -o names another\n");
    expect(await readFile(join(folder, "model.int8.safetensors"), "utf8")).toBe("precious");
    expect((await run("model.safetensors", "--force")).code).toBe(0);
    expect((await readFile(join(folder, "model.int8.safetensors"))).length).toBeGreaterThan(500);
  });

  it("may replace its own input, if it is told to", async () => {
    const { code, stderr } = await run("model.safetensors", "-o", "./model.safetensors");
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr:
        "wasm-quant: ./model.safetensors: is the input itself; -o names another file, --force puts the result in its place\n",
    });
    expect((await run("model.safetensors", "-o", "model.safetensors", "--force")).code).toBe(0);
    expect((await run("inspect", "model.safetensors")).stdout).toMatch(/symmetric, per channel, axis 0, was F32/);
  });

  it("repeats --include and --exclude", async () => {
    const { code, stdout } = await run("model.safetensors", "--include", "fc.*", "--exclude", "*.bias", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout).tensors[1].reason).toBe("one dimension");
    expect((await run("model.safetensors", "--force", "--exclude", "nothing*")).stderr).toMatch(
      /exclude: "nothing\*" matches no tensor/,
    );
  });
});

describe("dequantize", () => {
  it("restores a float file", async () => {
    await runProcess("model.safetensors");
    const { code, stdout } = await runProcess("dequantize", "model.int8.safetensors");
    expect(code).toBe(0);
    expect(stdout).toMatch(/fc\.weight +8 x 64 +int8 -> F32/);
    const { tensors, metadata } = await readSafetensorsHeader(
      bytesSource(await readFile(join(folder, "model.float.safetensors"))),
    );
    expect(tensors.map(({ name, dtype }) => `${name} ${dtype}`)).toEqual(["fc.weight F32", "fc.bias F32"]);
    expect(metadata).toEqual({});
  });
});

describe("inspect", () => {
  it("prints what is in a file, or JSON", async () => {
    const { code, stdout } = await runProcess("inspect", "model.safetensors");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^model\.safetensors: safetensors, 2 tensors, /);
    expect(stdout).toMatch(/fc\.weight +8 x 64 +F32 +2\.05 kB +-?\d.* dB +\d.* dB +\d.* dB\n/);
    const json = JSON.parse((await runProcess("inspect", "model.safetensors", "--json")).stdout);
    expect(json.tensors[0].sqnr.int8PerChannel).toBeGreaterThan(40);
  });
});

describe("wrong usage: exit code 2 and the usage line", () => {
  it.each([
    [["--frobnicate", "model.safetensors"], "unknown option '--frobnicate'", "quantize [options] <input>"],
    [[], "missing required argument 'input'", "quantize [options] <input>"],
    [["inspect"], "missing required argument 'input'", "inspect [options] <input>"],
    [["a", "b"], "too many arguments", "quantize [options] <input>"],
    [["--dtype", "int3", "model.safetensors"], "'int3' is invalid", "quantize [options] <input>"],
    [["--block-size", "1.5", "model.safetensors"], "'1.5' is invalid", "quantize [options] <input>"],
    [["--block-size", "0", "model.safetensors"], "'0' is invalid", "quantize [options] <input>"],
    [["--block-size", "3000000000", "model.safetensors"], "from 1 to 999999999", "quantize [options] <input>"],
    [["--threads", "257", "model.safetensors"], "from 1 to 256", "quantize [options] <input>"],
    [["--symmetric", "--asymmetric", "model.safetensors"], "cannot be used with", "quantize [options] <input>"],
    [["--per-tensor", "--per-channel", "model.safetensors"], "cannot be used with", "quantize [options] <input>"],
    [["--per-tensor", "--block-size", "32", "model.safetensors"], "cannot be used with", "quantize [options] <input>"],
    [
      ["-o", "model.npy", "model.safetensors"],
      "What is written is a .onnx or .safetensors file",
      "quantize [options] <input>",
    ],
  ])("%j", async (args, message, usage) => {
    const { code, stdout, stderr } = await run(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    const [first, second, ...rest] = stderr.split("\n");
    expect(first).toContain(message);
    expect(second).toBe(`usage: wasm-quant ${usage}`);
    expect(rest).toEqual([""]);
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
  });

  it("of a process, too", async () => {
    expect(await runProcess("--dtype", "int3", "model.safetensors")).toEqual(
      await run("--dtype", "int3", "model.safetensors"),
    );
  });
});

describe("bad input: exit code 1, one line, nothing written", () => {
  const cases: Record<string, [content: () => Promise<Uint8Array | string>, message: string]> = {
    "truncated.safetensors": [async () => (await safetensorsFile([f32("w", [8, 64])])).subarray(0, 900), 'tensor "w"'],
    "text.safetensors": [async () => "not tensors at all, but long enough", "header length"],
    "empty.npy": [async () => "", "not a .npy file"],
    "renamed.npy": [async () => safetensorsFile([f32("w", [8, 64])]), "is a safetensors file, not what its name says"],
    "nan.safetensors": [
      async () => {
        const bad = f32("block.3.weight", [8, 64]);
        bad.values[77] = Number.NaN;
        return safetensorsFile([f32("first", [8, 64]), bad]);
      },
      'tensor "block.3.weight": holds NaN at flat index 77',
    ],
    "model.onnx": [async () => Uint8Array.of(8, 3, 18, 7), "is no ONNX model, or a damaged one"],
  };

  it.each(Object.keys(cases))("%s", async (name) => {
    const [content, message] = cases[name]!;
    await rm(join(folder, "model.safetensors"));
    await writeFile(join(folder, name), await content());
    const { code, stdout, stderr } = await run(name);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(oneLine);
    expect(stderr).toContain(`${name}: `);
    expect(stderr).toContain(message);
    expect(await readdir(folder)).toEqual([name]);
  });

  it("a file that is not there, a folder, a folder that is not there", async () => {
    expect((await runProcess("missing.safetensors")).stderr).toBe(
      "wasm-quant: missing.safetensors: no such file or folder\n",
    );
    await mkdir(join(folder, "empty"));
    expect((await runProcess("inspect", "empty")).stderr).toBe(
      "wasm-quant: empty: is a folder without safetensors files; name a file in it\n",
    );
    const { code, stderr } = await runProcess("model.safetensors", "-o", "no/such/folder.safetensors");
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: "wasm-quant: no/such/folder.safetensors: its folder does not exist\n",
    });
  });

  it("--debug adds the stack", async () => {
    expect((await run("missing.safetensors", "--debug")).stderr).toMatch(/\n +at /);
  });

  it("names from files cannot write to the terminal", async () => {
    await writeFile(join(folder, "evil.safetensors"), await safetensorsFile([f32("a\u001b[31m\nb", [8, 64])]));
    expect((await run("evil.safetensors")).stdout).toMatch(/^a\\u\{1b\}\[31m\\u\{a\}b /m);
  });
});

describe("Ctrl-C", () => {
  it("leaves nothing behind and ends with 130", async () => {
    const one = f32("layer", [512, 512]);
    const tensors = Array.from({ length: 300 }, (_, i) => ({ ...one, name: `layer.${i}` }));
    await writeFile(join(folder, "large.safetensors"), await safetensorsFile(tensors));
    const child = spawn(process.execPath, [main, "large.safetensors"], { cwd: folder });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk;
    });
    const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
    while (!(await readdir(folder)).some((name) => name.endsWith(".tmp"))) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    expect(stderr).toBe("wasm-quant: interrupted, nothing written\n");
    expect((await readdir(folder)).sort()).toEqual(["large.safetensors", "model.safetensors"]);

    // SIGTERM while copying, and a second signal that does not wait.
    const copying = spawn(process.execPath, [main, "large.safetensors", "--exclude", "*"], { cwd: folder });
    const stopped = new Promise<number | null>((resolve) => copying.on("exit", resolve));
    while (!(await readdir(folder)).some((name) => name.endsWith(".tmp"))) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    copying.kill("SIGTERM");
    copying.kill("SIGINT");
    expect(await stopped).toBe(130);
    expect((await readdir(folder)).sort()).toEqual(["large.safetensors", "model.safetensors"]);
  });
});

describe("streams", () => {
  it("standard output that cannot be written is one line, exit code 1", async (context) => {
    skipWithout(context, device("/dev/full"));
    const command = `"${process.execPath}" "${main}" model.safetensors > /dev/full`;
    const { code, stderr } = await new Promise<Result>((resolve) => {
      exec(command, { cwd: folder }, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
    });
    expect({ code, stderr }).toEqual({ code: 1, stderr: "wasm-quant: standard output: cannot be written (ENOSPC)\n" });
  });

  it("a bar with tensor names on a terminal's stderr", async (context) => {
    skipWithout(context, program("/usr/bin/script"));
    const { stdout } = await new Promise<Result>((resolve) => {
      const command = `"${process.execPath}" "${main}" model.safetensors > table.txt`;
      const options = { cwd: folder, env: { ...process.env, TERM: "xterm" } };
      execFile("script", ["-qec", command, "/dev/null"], options, (_, stdout, stderr) =>
        resolve({ code: 0, stdout, stderr }),
      );
    });
    expect(stdout).toContain("0% fc.weight");
    expect(stdout).toContain("100%");
    expect(await readFile(join(folder, "table.txt"), "utf8")).toMatch(/^tensor /);
  });

  it("a pipe as input is refused at once", async (context) => {
    skipWithout(context, program("/usr/bin/mkfifo"));
    await promisify(execFile)("mkfifo", [join(folder, "pipe.safetensors")]);
    expect((await runProcess("pipe.safetensors")).stderr).toBe("wasm-quant: pipe.safetensors: is not a file\n");
  });
});

describe("help", () => {
  it("names every command and the options of the default one, on stdout", async () => {
    const { code, stdout, stderr } = await runProcess("--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const word of ["quantize", "dequantize", "inspect", "--dtype", "--block-size", "--json"]) {
      expect(stdout).toContain(word);
    }
    const { version } = JSON.parse(await readFile("package.json", "utf8"));
    expect((await runProcess("--version")).stdout).toBe(`${version}\n`);
    expect(existsSync(main)).toBe(true);
  });
});

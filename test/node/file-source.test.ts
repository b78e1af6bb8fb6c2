import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileError } from "../../src/index.ts";
import { type FileSource, fileSource } from "../../src/node.ts";
import { program, skipWithout } from "../helpers/needs.ts";

const opened: { close(): Promise<void> }[] = [];

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
});

afterEach(async () => {
  for (const source of opened.splice(0)) await source.close();
  await rm(folder, { recursive: true, force: true });
});

const at = (...names: string[]) => join(folder, ...names);

async function open(path: string): Promise<FileSource> {
  const source = await fileSource(path);
  opened.push(source);
  return source;
}

async function siblingOf(model: string, path: string) {
  const source = await (await open(model)).sibling!(path);
  if (source.close) opened.push({ close: () => source.close!() });
  return source;
}

/** The text of a file that `model` has beside it. */
async function textBeside(model: string, path: string): Promise<string> {
  const source = await siblingOf(model, path);
  return Buffer.from(await source.slice(0, source.byteLength)).toString();
}

/** Writes a file, and the folders it is in. */
async function put(text: string, ...names: string[]): Promise<string> {
  await mkdir(at(...names.slice(0, -1)), { recursive: true });
  await writeFile(at(...names), text);
  return at(...names);
}

describe("fileSource: read", () => {
  it("fills what it is given from where it is told to, and says how much there was", async () => {
    const source = await open(await put("abcdefgh", "in"));
    const whole = new Uint8Array(6);
    expect(await source.read!(2, whole.subarray(1, 4))).toBe(3);
    expect([...whole]).toEqual([0, ...Buffer.from("cde"), 0, 0]);
    expect(await source.read!(6, whole)).toBe(2);
    expect([...whole]).toEqual([...Buffer.from("ghde"), 0, 0]);
    expect(await source.read!(8, whole)).toBe(0);
    expect(await source.read!(100, whole)).toBe(0);
    expect(await source.read!(0, new Uint8Array(0))).toBe(0);
  });

  it("any number of reads at a time", async () => {
    const source = await open(await put("0123456789", "in"));
    const texts = await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        const into = new Uint8Array(1);
        await source.read!(i, into);
        return Buffer.from(into).toString();
      }),
    );
    expect(texts.join("")).toBe("0123456789");
  });

  it("once closed, or of more than there is room for, is an error of this library", async () => {
    const source = await fileSource(await put("abc", "in"));
    await expect(source.slice(0, 2 ** 53 - 1)).rejects.toMatchObject({ tag: "memory" });
    await source.close();
    await expect(source.read!(0, new Uint8Array(1))).rejects.toMatchObject({ tag: "file", file: at("in") });
    await expect(source.slice(0, 1)).rejects.toMatchObject({ tag: "file", file: at("in") });
  });
});

describe("fileSource: sibling", () => {
  beforeEach(() => put("the model", "models", "model.onnx"));
  const model = () => at("models", "model.onnx");

  it("opens files of the folder and of those within it, relative to the model", async () => {
    await put("weights", "models", "model.onnx.data");
    await put("more", "models", "deep", "er", "w.bin");
    expect(await textBeside(model(), "model.onnx.data")).toBe("weights");
    expect(await textBeside(model(), "./deep//er/w.bin")).toBe("more");
    const source = await siblingOf(model(), "model.onnx.data");
    expect(source).toMatchObject({ name: at("models", "model.onnx.data"), byteLength: 7 });
    expect(await textBeside(model(), "model.onnx")).toBe("the model"); // itself
  });

  it("names that look like a way out and are none", async () => {
    for (const name of ["..data", "a..b", "...", "w.data..", "ä ö\n\u001b", "c"]) {
      await put(name, "models", name);
      expect(await textBeside(model(), name)).toBe(name);
    }
  });

  it.each([
    ...["/etc/passwd", "\\\\server\\share", "\\w.bin", "C:\\w.bin", "c:w.bin", "C:/w.bin"],
    ...["..", "../secret", "a/../../secret", "deep/../w.bin", "..\\secret", "deep\\..\\..\\secret", "deep/.."],
    ...["w.bin\0", "\0", "../secret\0.bin"],
  ])("%j leads out, whether it is there or not", async (path) => {
    await put("secret", "secret");
    await put("w", "models", "deep", "w.bin");
    const error = await siblingOf(model(), path).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(FileError);
    expect((error as FileError).message).toBe(`${path}: leads out of the model's folder`);
  });

  it("a link to a file of the folder, and one through a linked folder within it", async () => {
    await put("weights", "models", "real", "w.bin");
    await symlink(at("models", "real", "w.bin"), at("models", "w.bin"));
    await symlink("real", at("models", "also"));
    expect(await textBeside(model(), "w.bin")).toBe("weights");
    expect(await textBeside(model(), "also/w.bin")).toBe("weights");
  });

  it("a link out of the folder is refused, be it of the file, of a folder, through others, or to a folder's namesake", async () => {
    await put("secret", "secret", "w.bin");
    await put("secret", "models-of-others", "w.bin");
    await symlink(at("secret", "w.bin"), at("models", "file"));
    await symlink("../secret", at("models", "folder"));
    await symlink("file", at("models", "chain"));
    await symlink("../models-of-others/w.bin", at("models", "namesake"));
    for (const path of ["file", "folder/w.bin", "chain", "namesake"]) {
      await expect(siblingOf(model(), path)).rejects.toMatchObject({
        tag: "file",
        message: `${at("models", path)}: is a link out of the model's folder`,
      });
    }
  });

  it("a model in a linked folder has its data there", async () => {
    await put("weights", "models", "w.bin");
    await symlink("models", at("linked"));
    expect(await textBeside(at("linked", "model.onnx"), "w.bin")).toBe("weights");
  });

  it("a model and data that are both linked from one folder of blobs, as in Hugging Face's cache", async () => {
    await put("the model", "blobs", "1111");
    await put("weights", "blobs", "2222");
    await put("secret", "secret");
    await mkdir(at("snapshots", "main", "onnx"), { recursive: true });
    const snapshot = (name: string) => at("snapshots", "main", "onnx", name);
    await symlink("../../../blobs/1111", snapshot("model.onnx"));
    await symlink("../../../blobs/2222", snapshot("model.onnx_data"));
    await symlink("../../../secret", snapshot("other"));
    expect(await textBeside(snapshot("model.onnx"), "model.onnx_data")).toBe("weights");
    await expect(siblingOf(snapshot("model.onnx"), "other")).rejects.toThrow(/is a link out of the model's folder$/);
    // A blob by its own name is not beside the model.
    await expect(siblingOf(snapshot("model.onnx"), "2222")).rejects.toThrow(/no such file or folder$/);
    // A model that is no link has no second home.
    await put("the model", "snapshots", "main", "onnx", "copy.onnx");
    await expect(siblingOf(snapshot("copy.onnx"), "model.onnx_data")).rejects.toThrow(/is a link out of/);
  });

  it("what is not there, a link to nothing, a folder, a file taken for a folder", async () => {
    await mkdir(at("models", "folder"));
    await symlink("nowhere", at("models", "dangling"));
    const refusals = [
      ["none.bin", "no such file or folder"],
      ["none/w.bin", "no such file or folder"],
      ["dangling", "no such file or folder"],
      ["model.onnx/w.bin", "no such file or folder"],
      ["folder", "is a folder; name a file in it"],
      ["n".repeat(300), "the name is too long"],
    ] as const;
    for (const [path, why] of refusals) {
      await expect(siblingOf(model(), path)).rejects.toMatchObject({
        tag: "file",
        message: `${at("models", path)}: ${why}`,
      });
    }
    for (const path of ["", "."]) await expect(siblingOf(model(), path)).rejects.toMatchObject({ tag: "file" });
  });

  it("a pipe is refused at once", async (context) => {
    skipWithout(context, program("/usr/bin/mkfifo"));
    await promisify(execFile)("mkfifo", [at("models", "pipe")]);
    await expect(siblingOf(model(), "pipe")).rejects.toThrow(/pipe: is not a file$/);
  });

  it("reads as the model does, and outlives it", async () => {
    await put("weights", "models", "w.bin");
    const source = await fileSource(model());
    const data = await source.sibling!("w.bin");
    await source.close();
    const into = new Uint8Array(3);
    expect(await data.read!(4, into)).toBe(3);
    expect(Buffer.from(into).toString()).toBe("hts");
    await data.close!();
  });
});

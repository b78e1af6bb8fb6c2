import type * as Files from "node:fs";
import { renameSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fileSink, removeUnfinished } from "../../src/node.ts";

// A rename is what makes a file appear: watched here for the order, and made to fail.
const actual = await vi.hoisted(() => import("node:fs").then(({ renameSync }) => ({ renameSync })));

vi.mock("node:fs", async (original) => {
  const files = await original<typeof Files>();
  return { ...files, renameSync: vi.fn(files.renameSync) };
});

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
});

afterEach(async () => {
  vi.mocked(renameSync).mockReset().mockImplementation(actual.renameSync);
  await rm(folder, { recursive: true, force: true });
});

const at = (...names: string[]) => join(folder, ...names);

/** Writes a file, and the folders it is in. */
async function put(text: string, ...names: string[]): Promise<string> {
  await mkdir(at(...names.slice(0, -1)), { recursive: true });
  await writeFile(at(...names), text);
  return at(...names);
}

describe("fileSink: companion", () => {
  const bytes = (text: string) => new Uint8Array(Buffer.from(text));
  const textOf = (name: string) => readFile(at(name), "utf8");
  const listed = async () => (await readdir(folder)).sort();

  /** A model and its data, written but not closed. */
  async function written(name = "out.onnx", overwrite = false) {
    const sink = await fileSink(at(name), { overwrite });
    const data = await sink.companion!(".data");
    await sink.write(0, bytes("new model"));
    await data.write(4, bytes("data"));
    await data.write(0, bytes("new "));
    return { sink, data };
  }

  it("is called after the model, and neither shows before both are whole", async () => {
    const { sink, data } = await written();
    expect(data.name).toBe("out.onnx.data"); // as the model may call it, with no folder
    expect(await listed()).toEqual([expect.stringMatching(/^\.wasm-quant-.*\.tmp$/), expect.stringMatching(/\.tmp$/)]);
    await sink.close();
    await sink.abort(); // harmless now
    expect(await listed()).toEqual(["out.onnx", "out.onnx.data"]);
    expect([await textOf("out.onnx"), await textOf("out.onnx.data")]).toEqual(["new model", "new data"]);
  });

  it("is in place before the model is", async () => {
    const { sink } = await written();
    await sink.close();
    const appeared = vi.mocked(renameSync).mock.calls.map(([, to]) => to);
    expect(appeared).toEqual([at("out.onnx.data"), at("out.onnx")]);
  });

  it("goes when the model goes, more than one of them too, and twice is harmless", async () => {
    const { sink } = await written();
    await sink.companion!(".more");
    expect(await listed()).toHaveLength(3);
    await sink.abort();
    await sink.abort();
    expect(await listed()).toEqual([]);
  });

  it("goes when the process must end now", async () => {
    const { sink } = await written();
    removeUnfinished();
    expect(await listed()).toEqual([]);
    await sink.abort();
  });

  it("that is there already stays, and so does nothing of the model", async () => {
    await put("old data", "out.onnx.data");
    const sink = await fileSink(at("out.onnx"));
    await expect(sink.companion!(".data")).rejects.toMatchObject({
      tag: "file",
      message: `${at("out.onnx.data")}: exists already`,
    });
    await sink.abort();
    expect(await listed()).toEqual(["out.onnx.data"]);
    expect(await textOf("out.onnx.data")).toBe("old data");
  });

  it("that came meanwhile stays, and no model appears", async () => {
    const { sink } = await written();
    await put("their data", "out.onnx.data");
    await expect(sink.close()).rejects.toThrow(/out\.onnx\.data: exists already$/);
    await sink.abort();
    expect(await listed()).toEqual(["out.onnx.data"]);
    expect(await textOf("out.onnx.data")).toBe("their data");
  });

  it("does not appear when the model cannot, for one that came meanwhile", async () => {
    const { sink } = await written();
    await put("their model", "out.onnx");
    await expect(sink.close()).rejects.toThrow(/out\.onnx: exists already$/);
    await sink.abort();
    expect(await listed()).toEqual(["out.onnx"]);
    expect(await textOf("out.onnx")).toBe("their model");
  });

  it("does not appear when the model cannot, for a folder that came meanwhile", async () => {
    const { sink } = await written("out.onnx", true);
    await mkdir(at("out.onnx"));
    await expect(sink.close()).rejects.toThrow(/out\.onnx: is a folder/);
    await sink.abort();
    expect(await listed()).toEqual(["out.onnx"]);
  });

  it("replaces what is there only if it may, and only on close", async () => {
    await put("old model", "out.onnx");
    await put("old data", "out.onnx.data");
    const given = await written("out.onnx", true);
    await given.sink.abort();
    expect(await listed()).toEqual(["out.onnx", "out.onnx.data"]);
    expect([await textOf("out.onnx"), await textOf("out.onnx.data")]).toEqual(["old model", "old data"]);
    const { sink } = await written("out.onnx", true);
    expect(await textOf("out.onnx.data")).toBe("old data");
    await sink.close();
    expect(await listed()).toEqual(["out.onnx", "out.onnx.data"]);
    expect([await textOf("out.onnx"), await textOf("out.onnx.data")]).toEqual(["new model", "new data"]);
  });

  it("a folder in its place is refused", async () => {
    await mkdir(at("out.onnx.data"));
    const sink = await fileSink(at("out.onnx"), { overwrite: true });
    await expect(sink.companion!(".data")).rejects.toThrow(/out\.onnx\.data: is a folder/);
    await sink.abort();
    expect(await listed()).toEqual(["out.onnx.data"]);
  });

  it("a model's name that leaves no room for the suffix is an error that leaves nothing", async () => {
    const name = `${"n".repeat(247)}.onnx`;
    const attempt = written(name).then(({ sink }) => sink.close().finally(() => sink.abort()));
    await expect(attempt).rejects.toMatchObject({ tag: "file", message: expect.stringContaining("name is too long") });
    expect((await listed()).filter((file) => !file.endsWith(".tmp"))).toEqual([]);
  });

  describe("when the system refuses a rename", () => {
    // As on Windows while somebody has the file open, or in a folder like /tmp where it is another user's.
    const refuse = (name: string) =>
      vi.mocked(renameSync).mockImplementation((from, to) => {
        if (to === at(name)) throw Object.assign(new Error("refused"), { code: "EPERM" });
        actual.renameSync(from, to);
      });

    it("of the data, nothing is left", async () => {
      refuse("out.onnx.data");
      const { sink } = await written();
      await expect(sink.close()).rejects.toThrow(/out\.onnx\.data: permission denied$/);
      await sink.abort();
      expect(await listed()).toEqual([]);
    });

    // Both fail: the data file has its name by then, and keeps it.
    it("of the model, nothing is left", async () => {
      refuse("out.onnx");
      const { sink } = await written();
      await expect(sink.close()).rejects.toThrow(/out\.onnx: permission denied$/);
      await sink.abort();
      expect(await listed()).toEqual([]);
    });

    it("of the model that is to be replaced, it still has its data", async () => {
      await put("old model", "out.onnx");
      await put("old data", "out.onnx.data");
      refuse("out.onnx");
      const { sink } = await written("out.onnx", true);
      await expect(sink.close()).rejects.toThrow(/out\.onnx: permission denied$/);
      await sink.abort();
      expect([await textOf("out.onnx"), await textOf("out.onnx.data")]).toEqual(["old model", "old data"]);
    });
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { opfsHandleSink, opfsSink, opfsSource } from "../../src/browser.ts";
import { bytesSource, createEngine, quantizeModel } from "../../src/index.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { FakeFile, FakeFolder } from "./fake-opfs.ts";

let root: FakeFolder;
beforeEach(() => {
  root = new FakeFolder();
  vi.stubGlobal("navigator", { storage: { getDirectory: async () => root } });
});
afterEach(() => vi.unstubAllGlobals());

const bytes = (text: string) => new TextEncoder().encode(text);
const handleOf = (file: FakeFile) => file as unknown as FileSystemFileHandle;
const textOf = async (source: { byteLength: number; slice(start: number, end: number): Promise<Uint8Array> }) =>
  new TextDecoder().decode(await source.slice(0, source.byteLength));
const temporary = expect.stringMatching(/^\.wasm-quant-[0-9a-f]{12}\.tmp$/);

describe("opfsSource", () => {
  beforeEach(async () => {
    await root.put("models/model.onnx", "the model");
    await root.put("models/model.onnx.data", "weights");
    await root.put("models/deep/w.bin", "more");
    await root.put("secret", "secret");
  });

  it("opens by path and by handle", async () => {
    for (const file of ["models/model.onnx", "/models//model.onnx", handleOf(await root.put("x/y", "the model"))]) {
      const source = await opfsSource(file);
      expect(await textOf(source)).toBe("the model");
      const into = new Uint8Array(3);
      expect(await source.read(4, into)).toBe(3);
      expect(new TextDecoder().decode(into)).toBe("mod");
    }
    expect(await opfsSource("/models//model.onnx")).toMatchObject({ name: "/models//model.onnx", byteLength: 9 });
    expect((await opfsSource(handleOf(await root.put("x/y")))).name).toBe("x/y");
  });

  it("tells the same file by whatever name", async () => {
    const handle = (await (await root.getDirectoryHandle("models")).getFileHandle("model.onnx")) as FakeFile;
    const [a, b, c] = await Promise.all([
      opfsSource("models/model.onnx"),
      opfsSource("./models//model.onnx"),
      opfsSource(handleOf(handle)),
    ]);
    expect(new Set([a.identity, b.identity, c.identity]).size).toBe(1);
    expect(a.identity).not.toBe((await opfsSource("secret")).identity);
    expect((await a.sibling!("model.onnx")).identity).toBe(a.identity);
    expect((await opfsSink("models/model.onnx", { overwrite: true })).replaces).toBe(a.identity);
    expect((await opfsSink("models/new.onnx")).replaces).toBeUndefined();
    expect((await opfsHandleSink(handleOf(handle))).replaces).toBe(a.identity);
  });

  it("opens siblings of its folder and below, and none elsewhere", async () => {
    const source = await opfsSource("models/model.onnx");
    const data = await source.sibling!("./model.onnx.data");
    expect([data.name, await textOf(data)]).toEqual(["models/model.onnx.data", "weights"]);
    expect(await textOf(await source.sibling!("deep\\w.bin"))).toBe("more");
    for (const path of ["../secret", "/secret", "deep/../../secret", "..", "a\0"])
      await expect(source.sibling!(path)).rejects.toThrow(`${path}: leads out of the model's folder`);
    const deep = await source.sibling!("deep/w.bin");
    await expect(deep.sibling!("../model.onnx")).rejects.toThrow(/leads out/);
    for (const path of ["", "."]) await expect(source.sibling!(path)).rejects.toThrow(/names no file$/);
  });

  it("what is not there, a folder, a file taken for a folder, a name that cannot be", async () => {
    const refusals = [
      ["none", "no such file or folder"],
      ["none/w.bin", "no such file or folder"],
      ["secret/w.bin", "no such file or folder"],
      ["models", "is a folder; name a file in it"],
      ["../secret", "leads out of the private file system"],
      ["", "names no file"],
    ] as const;
    for (const [path, why] of refusals)
      await expect(opfsSource(path)).rejects.toMatchObject({ tag: "file", message: `${path}: ${why}` });
  });

  it("a picked file has no siblings that can be had", async () => {
    const picked = new FakeFile("model.onnx", new FakeFolder("elsewhere"));
    picked.bytes = bytes("picked");
    const source = await opfsSource(handleOf(picked));
    expect([source.name, source.identity, await textOf(source)]).toEqual(["model.onnx", undefined, "picked"]);
    await expect(source.sibling!("w.bin")).rejects.toThrow(/^w\.bin: is not known: a picked file's folder/);
  });

  it("where there is no such file system, is an error that says so", async () => {
    vi.stubGlobal("navigator", {});
    await expect(opfsSource("a")).rejects.toMatchObject({
      tag: "file",
      message: "a: there is no private file system here; pages from https and localhost have one",
    });
    expect(await textOf(await opfsSource(handleOf(new FakeFile("picked"))))).toBe("");
  });
});

describe("opfsSink", () => {
  it("shows the file only once it is closed, whole, in any order of writing", async () => {
    const sink = await opfsSink("out");
    await sink.write(4, Uint8Array.of(5, 6));
    expect(root.names).toEqual([temporary]);
    await sink.write(0, Uint8Array.of(1, 2, 3, 4));
    await sink.close();
    await sink.abort(); // harmless now
    expect(root.names).toEqual(["out"]);
    expect([...(root.entries.get("out") as FakeFile).bytes]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("leaves nothing when aborted", async () => {
    const sink = await opfsSink("out");
    const late = sink.write(0, Uint8Array.of(1));
    await sink.abort();
    await sink.abort();
    await late;
    expect(root.names).toEqual([]);
    await expect(sink.write(0, Uint8Array.of(1))).rejects.toMatchObject({ message: "out: was given up" });
  });

  it("does not overwrite, not even a file that came meanwhile", async () => {
    const sink = await opfsSink("out");
    await root.put("out", "theirs");
    await expect(sink.close()).rejects.toMatchObject({ tag: "file", message: "out: exists already" });
    await sink.abort();
    expect([root.names, root.text("out")]).toEqual([["out"], "theirs"]);
    await expect(opfsSink("out")).rejects.toThrow(/exists already$/);
    expect(root.names).toEqual(["out"]);
  });

  it("replaces only if it may, and only on close", async () => {
    await root.put("folder/out", "old");
    const folder = await root.getDirectoryHandle("folder");
    const given = await opfsSink("folder/out", { overwrite: true });
    await given.write(0, bytes("n"));
    expect(folder.text("out")).toBe("old");
    await given.abort();
    expect([folder.names, folder.text("out")]).toEqual([["out"], "old"]);
    const sink = await opfsSink("folder/out", { overwrite: true });
    await sink.write(0, bytes("n"));
    await sink.close();
    expect([folder.names, folder.text("out")]).toEqual([["out"], "n"]);
  });

  it("refuses folders, folders that are not there, and a folder that came meanwhile", async () => {
    await root.getDirectoryHandle("folder", { create: true });
    await expect(opfsSink("folder")).rejects.toThrow("folder: is a folder; name the file to write");
    await expect(opfsSink("no/out")).rejects.toThrow("no/out: its folder does not exist");
    await expect(opfsSink("../out")).rejects.toThrow("leads out of the private file system");
    const sink = await opfsSink("out", { overwrite: true });
    await root.getDirectoryHandle("out", { create: true });
    await expect(sink.close()).rejects.toThrow("out: is a folder; name the file to write");
    await sink.abort();
    expect(root.names).toEqual(["folder", "out"]);
  });

  it("leaves nothing when the storage is full, be it at the start, in between or at the end", async () => {
    for (const full of ["create", "write", "close"]) {
      root.refuse = (what) => {
        if (what === full) throw new DOMException("full", "QuotaExceededError");
      };
      const attempt = async () => {
        const sink = await opfsSink("out");
        await sink
          .write(0, Uint8Array.of(1))
          .then(sink.close)
          .catch(async (error: unknown) => {
            await sink.abort();
            throw error;
          });
      };
      await expect(attempt()).rejects.toMatchObject({
        tag: "file",
        message: "out: no space left in the browser's storage",
      });
      expect(root.names).toEqual([]);
    }
  });

  it("leaves nothing where the browser cannot write", async () => {
    vi.spyOn(FakeFile.prototype, "createWritable").mockRejectedValueOnce(new DOMException("no", "NotAllowedError"));
    await expect(opfsSink("out")).rejects.toThrow("out: permission denied");
    const { move } = FakeFile.prototype;
    try {
      Reflect.deleteProperty(FakeFile.prototype, "move");
      await expect(opfsSink("out")).rejects.toThrow("out: this browser cannot write files");
    } finally {
      FakeFile.prototype.move = move;
    }
    expect(root.names).toEqual([]);
  });
});

describe("opfsSink: companion", () => {
  /** A model and its data, written but not closed. */
  async function written(overwrite = false) {
    const sink = await opfsSink("out.onnx", { overwrite });
    const data = await sink.companion!(".data");
    await sink.write(0, bytes("new model"));
    await data.write(4, bytes("data"));
    await data.write(0, bytes("new "));
    return { sink, data };
  }
  const texts = () => [root.text("out.onnx"), root.text("out.onnx.data")];

  it("is called after the model, neither shows before both are whole, and it is in place first", async () => {
    const { sink, data } = await written();
    expect(data.name).toBe("out.onnx.data");
    expect(root.names).toEqual([temporary, temporary]);
    const moved: string[] = [];
    root.refuse = (what, name) => what === "move" && moved.push(name);
    await sink.close();
    await sink.abort(); // harmless now
    expect(moved).toEqual(["out.onnx.data", "out.onnx"]);
    expect(root.names).toEqual(["out.onnx", "out.onnx.data"]);
    expect(texts()).toEqual(["new model", "new data"]);
  });

  it("may have a name of its own, as shards have", async () => {
    const sink = await opfsSink("index.json");
    const shard = await sink.sibling!("one.safetensors");
    expect(shard.name).toBe("one.safetensors");
    await shard.write(0, bytes("shard"));
    await sink.write(0, bytes("index"));
    await sink.close();
    expect([root.text("index.json"), root.text("one.safetensors")]).toEqual(["index", "shard"]);
  });

  it("goes when the model goes", async () => {
    const { sink } = await written();
    await sink.companion!(".more");
    expect(root.names).toHaveLength(3);
    await sink.abort();
    expect(root.names).toEqual([]);
  });

  it("that is there already, or came meanwhile, stays, and no model appears", async () => {
    await root.put("out.onnx.data", "old data");
    const sink = await opfsSink("out.onnx");
    await expect(sink.companion!(".data")).rejects.toThrow("out.onnx.data: exists already");
    await sink.abort();
    expect(root.names).toEqual(["out.onnx.data"]);
    await root.removeEntry("out.onnx.data");
    const second = await written();
    await root.put("out.onnx.data", "their data");
    await expect(second.sink.close()).rejects.toThrow("out.onnx.data: exists already");
    await second.sink.abort();
    expect([root.names, root.text("out.onnx.data")]).toEqual([["out.onnx.data"], "their data"]);
  });

  it("replaces what is there only if it may, and only on close", async () => {
    await root.put("out.onnx", "old model");
    await root.put("out.onnx.data", "old data");
    const given = await written(true);
    expect(given.data.replaces).toBe((await opfsSource("out.onnx.data")).identity);
    await given.sink.abort();
    expect([root.names, texts()]).toEqual([
      ["out.onnx", "out.onnx.data"],
      ["old model", "old data"],
    ]);
    const { sink } = await written(true);
    await sink.close();
    expect(root.names).toEqual(["out.onnx", "out.onnx.data"]);
    expect(texts()).toEqual(["new model", "new data"]);
  });

  it.each(["out.onnx.data", "out.onnx"])("when the move to %s is refused, all is as it was", async (name) => {
    const refuse = () => {
      let refused = false; // once: what was there may come back
      root.refuse = (what, to) => {
        if (what !== "move" || to !== name || refused) return;
        refused = true;
        throw new DOMException("locked", "NoModificationAllowedError");
      };
    };
    const first = await written();
    refuse();
    await expect(first.sink.close()).rejects.toThrow(`${name}: is being written to elsewhere`);
    await first.sink.abort();
    expect(root.names).toEqual([]);
    await root.put("out.onnx", "old model");
    await root.put("out.onnx.data", "old data");
    const { sink } = await written(true);
    refuse();
    await expect(sink.close()).rejects.toThrow(`${name}: is being written to elsewhere`);
    await sink.abort();
    expect(root.names).toEqual(["out.onnx", "out.onnx.data"]);
    expect(texts()).toEqual(["old model", "old data"]);
  });
});

describe("sinkOfHandle", () => {
  const picked = (text = "") => Object.assign(new FakeFile("picked.onnx"), { bytes: bytes(text) });

  it("replaces what the file holds on close", async () => {
    const file = picked("old and long");
    const sink = await opfsHandleSink(handleOf(file));
    expect([sink.companion, sink.replaces]).toEqual([undefined, undefined]);
    await sink.write(2, bytes("w"));
    await sink.write(0, bytes("ne"));
    expect(new TextDecoder().decode(file.bytes)).toBe("old and long");
    await sink.close();
    await sink.abort();
    expect(new TextDecoder().decode(file.bytes)).toBe("new");
  });

  it("leaves the file as it was when aborted", async () => {
    const file = picked("old");
    const sink = await opfsHandleSink(handleOf(file));
    await sink.write(0, bytes("new"));
    await sink.abort();
    await sink.abort();
    expect([new TextDecoder().decode(file.bytes), file.locks]).toEqual(["old", 0]);
  });

  it("may be refused", async () => {
    const file = picked();
    file.createWritable = async () => {
      throw new DOMException("denied", "NotAllowedError");
    };
    await expect(opfsHandleSink(handleOf(file))).rejects.toThrow("picked.onnx: permission denied");
  });
});

describe("quantizeModel", () => {
  it("from and to the private file system, over its own input too; a failure leaves nothing", async () => {
    const engine = await createEngine();
    const input = await safetensorsFile([f32("w", [64, 33])]);
    const put = await root.put("in.safetensors");
    put.bytes = new Uint8Array(input);
    const ofBytes = await opfsSink("expected");
    await quantizeModel(engine, bytesSource(input, "in.safetensors"), ofBytes);
    const over = await opfsSink("in.safetensors", { overwrite: true });
    await quantizeModel(engine, await opfsSource("in.safetensors"), over);
    expect(root.text("in.safetensors")).toBe(root.text("expected"));
    const bad = await opfsSink("bad");
    await expect(quantizeModel(engine, bytesSource(bytes("<html>"), "x.onnx"), bad)).rejects.toThrow();
    expect(root.names).toEqual(["expected", "in.safetensors"]);
  });
});

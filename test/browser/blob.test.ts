import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { blobSource } from "../../src/browser.ts";
import { FileError } from "../../src/index.ts";

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const textBeside = async (source: ReturnType<typeof blobSource>, path: string) => {
  const sibling = await source.sibling!(path);
  return textOf(await sibling.slice(0, sibling.byteLength));
};

/** A file as a picked folder has it. */
function inFolder(text: string, path: string): File {
  const file = new File([text], path.split("/").at(-1)!);
  return Object.assign(file, { webkitRelativePath: path });
}

describe("blobSource", () => {
  it("is called as its file is, or as it is told to", () => {
    expect(blobSource(new File(["abc"], "a.onnx"))).toMatchObject({ name: "a.onnx", byteLength: 3 });
    expect(blobSource(new Blob(["abc"]))).toMatchObject({ name: "blob", byteLength: 3 });
    expect(blobSource(new File(["abc"], "a.onnx"), "b.onnx").name).toBe("b.onnx");
  });

  it("reads slices and into memory it is given, and says how much there was", async () => {
    const source = blobSource(new Blob(["abcd", "efgh"]));
    expect(textOf(await source.slice(2, 6))).toBe("cdef");
    expect(textOf(await source.slice(6, 12))).toBe("gh");
    expect(await source.slice(9, 12)).toHaveLength(0);
    const whole = new Uint8Array(6);
    expect(await source.read(2, whole.subarray(1, 4))).toBe(3);
    expect([...whole]).toEqual([0, ...new TextEncoder().encode("cde"), 0, 0]);
    expect(await source.read(6, whole)).toBe(2);
  });

  it("reads more than a stream brings at once", async () => {
    const bytes = Uint8Array.from({ length: 3_000_001 }, (_, i) => i % 251);
    const into = new Uint8Array(2_900_000);
    expect(await blobSource(new Blob([bytes])).read(100_000, into)).toBe(into.length);
    expect(Buffer.compare(into, bytes.subarray(100_000, 3_000_000))).toBe(0); // toEqual takes long for megabytes
  });

  it("reads stretches that follow one another from one stream, those of two readers by turns", async () => {
    const bytes = Uint8Array.from({ length: 1_000_000 }, (_, i) => i % 251);
    const blob = new Blob([bytes]);
    const begun: number[] = [];
    const slice = blob.slice.bind(blob);
    blob.slice = (start, end) => {
      begun.push(start!);
      return slice(start, end);
    };
    const source = blobSource(blob);
    const check = async (start: number, end: number) => {
      expect(Buffer.compare(await source.slice(start, end), bytes.subarray(start, end))).toBe(0);
    };
    for (let i = 0; i < 5; i++)
      for (const from of [0, 500_000]) await check(from + i * 70_001, from + (i + 1) * 70_001);
    // The second read of each begins the stream that the others go on with.
    expect(begun).toEqual([0, 500_000, 70_001, 570_001]);
    await check(10, 20);
    for (const from of [350_005, 850_005]) await check(from, 1_000_000);
    expect(begun.slice(4)).toEqual([10]);
  });

  it("has a handle that opens the same bytes elsewhere", async () => {
    const { handle } = blobSource(new File(["abc"], "a.onnx"));
    const { kind, blob, name } = structuredClone(handle);
    expect({ kind, name, text: await blob.text() }).toEqual({ kind: "blob", name: "a.onnx", text: "abc" });
  });

  it("of a file that changed meanwhile is one clear line", async () => {
    const folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
    try {
      await writeFile(join(folder, "in"), "before");
      const source = blobSource(await openAsBlob(join(folder, "in")), "in");
      await writeFile(join(folder, "in"), "after that");
      for (const reading of [source.slice(0, 3), source.read(0, new Uint8Array(3))]) {
        const error = await reading.catch((e: unknown) => e);
        expect(error).toBeInstanceOf(FileError);
        expect((error as FileError).message).toBe(
          "in: cannot be read: it changed or vanished since it was opened; open it again",
        );
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("of a file that cannot be read is the same line, whatever the browser calls it", async () => {
    for (const error of [new TypeError("network error"), new DOMException("gone", "NotFoundError")]) {
      const blob = new Blob(["abc"]);
      blob.slice = () =>
        Object.assign(new Blob(), { stream: () => new ReadableStream({ pull: (c) => c.error(error) }) });
      await expect(blobSource(blob, "in").slice(0, 3)).rejects.toMatchObject({
        tag: "file",
        message: "in: cannot be read: it changed or vanished since it was opened; open it again",
        cause: error,
      });
    }
  });
});

describe("blobSource: sibling", () => {
  const siblings = { "model.onnx.data": new Blob(["weights"]), "./deep/er/w.bin": new Blob(["more"]) };

  it("opens what it was given, however the path is written", async () => {
    const source = blobSource(new File(["m"], "model.onnx"), undefined, siblings);
    expect(await textBeside(source, "model.onnx.data")).toBe("weights");
    expect(await textBeside(source, "./deep//er/w.bin")).toBe("more");
    expect(await textBeside(source, "deep\\er\\w.bin")).toBe("more");
    expect((await source.sibling!("deep/er/w.bin")).name).toBe("deep/er/w.bin");
  });

  it("of a picked folder are known by their paths from that folder on", async () => {
    const files = ["models/a/w.bin", "models/w.bin", "models/a/b/w.bin"].map((path) => inFolder(path, path));
    const byPath = Object.fromEntries(files.map((file) => [file.webkitRelativePath, file]));
    const sources = [
      blobSource(inFolder("m", "models/a/model.onnx"), undefined, byPath),
      blobSource(new File(["m"], "model.onnx"), "models/a/model.onnx", byPath),
    ];
    for (const source of sources) {
      expect(await textBeside(source, "w.bin")).toBe("models/a/w.bin");
      expect(await textBeside(source, "b/w.bin")).toBe("models/a/b/w.bin");
      await expect(source.sibling!("../w.bin")).rejects.toThrow("../w.bin: leads out of the model's folder");
    }
    const shard = await sources[0]!.sibling!("b/w.bin");
    await expect(shard.sibling!("none.bin")).rejects.toMatchObject({ tag: "file" });
  });

  it.each([
    ...["/etc/passwd", "\\\\server\\share", "\\w.bin", "C:\\w.bin", "c:w.bin"],
    ...["..", "../secret", "a/../../secret", "..\\secret", "deep/..", "w.bin\0"],
  ])("%j leads out", async (path) => {
    const source = blobSource(new Blob([]), "model.onnx", { [path]: new Blob(["secret"]) });
    await expect(source.sibling!(path)).rejects.toMatchObject({
      tag: "file",
      message: `${path}: leads out of the model's folder`,
    });
  });

  it("that was not given, or has no name, is an error", async () => {
    const source = blobSource(new Blob([]), "model.onnx", siblings);
    for (const path of ["none.bin", "constructor"])
      await expect(source.sibling!(path)).rejects.toThrow(`${path}: is not among the files given`);
    for (const path of ["", "."]) await expect(source.sibling!(path)).rejects.toThrow(/names no file$/);
  });
});

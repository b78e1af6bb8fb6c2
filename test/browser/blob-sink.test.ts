import { afterEach, describe, expect, it, vi } from "vitest";
import { blobSink } from "../../src/browser.ts";
import { randomOf } from "../helpers/random.ts";

const MiB = 1 << 20;
const bytesOf = async (blob: Blob) => new Uint8Array(await blob.arrayBuffer());
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0; // toEqual takes long for megabytes

afterEach(() => vi.restoreAllMocks());

describe("blobSink", () => {
  it("makes a Blob of what is written, in any order, with zeros between", async () => {
    const sink = blobSink({ type: "application/x-test" });
    await sink.write(6, Uint8Array.of(7, 8));
    await sink.write(0, Uint8Array.of(1, 2, 3));
    await sink.write(1, Uint8Array.of(9));
    await sink.close();
    expect([...(await bytesOf(sink.result()))]).toEqual([1, 9, 3, 0, 0, 0, 7, 8]);
    expect(sink.result().type).toBe("application/x-test");
  });

  it("of nothing is empty", async () => {
    const sink = blobSink();
    await sink.close();
    expect(sink.result()).toMatchObject({ size: 0, type: "application/octet-stream" });
  });

  it("keeps what it was given, whatever becomes of the array", async () => {
    const sink = blobSink();
    const bytes = Uint8Array.of(1, 2, 3);
    await sink.write(0, bytes);
    bytes.fill(9);
    await sink.close();
    expect([...(await bytesOf(sink.result()))]).toEqual([1, 2, 3]);
  });

  it("takes large files: in a row, over the edges of stretches, again where it is full, with holes", async () => {
    const sink = blobSink();
    const expected = new Uint8Array(150 * MiB + 5);
    const random = randomOf(5);
    const write = async (position: number, length: number) => {
      const bytes = new Uint8Array(length).fill(1 + Math.floor(random() * 255));
      expected.set(bytes, position);
      await sink.write(position, bytes);
    };
    for (let at = 0; at < 96 * MiB; at += 7 * MiB) await write(at, 7 * MiB);
    await write(0, 100); // the header, last
    await write(16 * MiB - 3, 6);
    await write(40 * MiB, 20 * MiB);
    await write(150 * MiB, 5);
    await write(133 * MiB, MiB);
    for (let i = 0; i < 20; i++) await write(Math.floor(random() * 149) * MiB, 1000); // more stretches than are kept open
    await sink.close();
    expect(sink.result().size).toBe(expected.length);
    expect(same(await bytesOf(sink.result()), expected)).toBe(true);
  });

  it("writes that do not wait for each other", async () => {
    const sink = blobSink();
    const expected = new Uint8Array(120 * MiB);
    const writes: Promise<void>[] = [];
    for (let round = 1; round <= 2; round++) {
      for (let at = 0; at < expected.length; at += 10 * MiB) {
        const bytes = new Uint8Array(5 * MiB).fill(round * 20 + at / MiB / 10);
        expected.set(bytes, at + (round - 1) * 5 * MiB);
        writes.push(sink.write(at + (round - 1) * 5 * MiB, bytes));
      }
    }
    await Promise.all(writes);
    await sink.close();
    expect(same(await bytesOf(sink.result()), expected)).toBe(true);
  });

  it("makes companions, called after the file", async () => {
    const sink = blobSink({ name: "out.onnx" });
    const data = await sink.companion!(".data");
    expect(data.name).toBe("out.onnx.data");
    await data.write(2, Uint8Array.of(1));
    await sink.write(0, Uint8Array.of(5));
    await sink.close();
    expect([...(await bytesOf(sink.result(".data")!))]).toEqual([0, 0, 1]);
    expect([...(await bytesOf(sink.result()))]).toEqual([5]);
    expect(sink.result(".none")).toBeUndefined();
  });

  it("has the name that it is given, after which files beside it are called", () => {
    expect(blobSink({ name: "weights.safetensors" }).name).toBe("weights.safetensors");
    expect(blobSink().name).toBe("model.onnx");
  });

  it("makes siblings, by their own names", async () => {
    const sink = blobSink({ name: "model.safetensors.index.json" });
    const shard = await sink.sibling!("model-00001-of-00001.safetensors");
    expect(shard.name).toBe("model-00001-of-00001.safetensors");
    await shard.write(0, Uint8Array.of(1, 2));
    await sink.close();
    expect([...(await bytesOf(sink.result(shard.name)!))]).toEqual([1, 2]);
  });

  it("has nothing before it is closed or once it is aborted, and takes nothing after", async () => {
    const sink = blobSink({ name: "out" });
    const data = await sink.companion!(".data");
    await sink.write(0, Uint8Array.of(1));
    expect(() => sink.result()).toThrow("out: is not whole");
    await sink.abort();
    await sink.abort();
    expect(() => sink.result()).toThrow("out: is not whole");
    expect(() => sink.result(".data")).toThrow("out: is not whole");
    await expect(sink.write(0, Uint8Array.of(1))).rejects.toMatchObject({ tag: "file", file: "out" });
    await expect(data.write(0, Uint8Array.of(1))).rejects.toMatchObject({ tag: "file", file: "out.data" });
    await expect(sink.close()).rejects.toMatchObject({ tag: "file" });
  });

  it("keeps what is closed when it is aborted", async () => {
    const sink = blobSink();
    await sink.write(0, Uint8Array.of(1));
    await sink.close();
    await sink.abort();
    expect(sink.result().size).toBe(1);
  });

  it("fails when the browser did not keep what it was given", async () => {
    const sink = blobSink({ name: "out" });
    await sink.write(0, new Uint8Array(17 * MiB));
    // As Chrome does it: nothing is said when the Blob is made.
    vi.spyOn(Blob.prototype, "arrayBuffer").mockRejectedValue(
      new DOMException("could not be read", "NotReadableError"),
    );
    await expect(sink.close()).rejects.toMatchObject({
      tag: "file",
      message: "out: no space left in the browser's storage",
    });
    await sink.abort();
    expect(() => sink.result()).toThrow("out: is not whole");
  });
});

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import { compileKernels, createEngine } from "../../src/index.ts";
import { normals, randomOf } from "../helpers/random.ts";

const path = "dist/kernels.wasm";
const x = { data: normals(randomOf(1), 100), shape: [100] };

afterEach(() => vi.restoreAllMocks());

describe("the module", () => {
  it("loads from a path, a URL, its bytes and compiled, with the same result", async () => {
    const bytes = await readFile(path);
    const expected = (await createEngine()).quantize(x).data;
    for (const module of [
      path,
      pathToFileURL(path),
      pathToFileURL(path).href,
      bytes,
      bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
      await compileKernels(bytes),
    ]) {
      expect((await createEngine({ module })).quantize(x).data).toEqual(expected);
    }
  });

  it("loads over HTTP", async () => {
    const bytes = await readFile(path);
    const server = createServer((request, response) => {
      response.writeHead(request.url === "/kernels.wasm" ? 200 : 404).end(bytes);
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect((await createEngine({ module: new URL(`${base}/kernels.wasm`) })).kernels).toBe("simd");
    await expect(createEngine({ module: `${base}/gone.wasm` })).rejects.toThrow(
      /gone.wasm: not a readable WebAssembly module \(HTTP 404\)/,
    );
    server.close();
  });

  it("that is none, or another, is refused", async () => {
    await expect(createEngine({ module: "no/such.wasm" })).rejects.toThrow(/module: no\/such.wasm: not a readable/);
    await expect(createEngine({ module: Uint8Array.of(1, 2, 3) })).rejects.toThrow(
      /module: the bytes given: not a readable/,
    );
    const empty = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
    await expect(createEngine({ module: empty })).rejects.toThrow('module: exports no kernel "rangeF32"');
  });

  it("is below 24 KB gzipped", async () => {
    expect(gzipSync(await readFile(path), { level: 9 }).length).toBeLessThan(24 * 1024);
  });

  it("imports nothing but memory", async () => {
    expect(WebAssembly.Module.imports(await compileKernels())).toEqual([
      { module: "env", name: "memory", kind: "memory" },
    ]);
  });
});

describe("where SIMD is missing", () => {
  it("the reference kernels serve, with the same bytes", async () => {
    const expected = (await createEngine()).quantize(x, { dtype: "uint4", blockSize: 8 });
    vi.spyOn(WebAssembly, "validate").mockReturnValue(false);
    const engine = await createEngine();
    expect(engine.kernels).toBe("scalar");
    expect(engine.quantize(x, { dtype: "uint4", blockSize: 8 })).toEqual(expected);
  });
});

import { instantiate, instantiateSync } from "@assemblyscript/loader";
import { ArgumentError } from "../errors.ts";
import { type Kernels, kernelNames } from "./abi.ts";

/** Where kernels.wasm comes from: a path or URL, its bytes, or the module compiled already. */
export type ModuleSource = string | URL | BufferSource | WebAssembly.Module;

/** The kernels.wasm that is published with this file; the path holds from src/kernels and from dist/kernels alike. */
const published = () => new URL("../../dist/kernels.wasm", import.meta.url); // of a blob: URL's module there is none

/**
 * Compiles kernels.wasm. One compiled module serves any number of engines, and can be posted to workers.
 *
 * @throws ArgumentError when there is no such file or it is not WebAssembly.
 */
export async function compileKernels(source: ModuleSource = published()): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  try {
    return await WebAssembly.compile(typeof source === "string" || source instanceof URL ? await read(source) : source);
  } catch (cause) {
    const given = typeof source === "string" || source instanceof URL ? String(source) : "the bytes given";
    const reason = (cause as Error).message;
    throw new ArgumentError("module", `${given}: not a readable WebAssembly module (${reason})`, { cause });
  }
}

/**
 * Instantiates the kernels over `memory`.
 *
 * @throws ArgumentError when the module is not (this version's) kernels.wasm.
 */
export async function loadKernels(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Kernels> {
  const there = new Set(WebAssembly.Module.exports(module).map((entry) => entry.name));
  const missing = kernelNames.find((name) => !there.has(name));
  if (missing !== undefined) {
    throw new ArgumentError("module", `exports no kernel "${missing}"; take the kernels.wasm of this version`);
  }
  const imports = { env: { memory } };
  // Asked asynchronously, the loader looks whether it was given a Response, for which Node loads its HTTP client: 19 ms.
  const { instance } = fileSystem() ? instantiateSync(module, imports) : await instantiate(module, imports);
  // The loader's own `exports` wraps every function; hot calls go to the instance's.
  return instance.exports as unknown as Kernels;
}

/** Whether this engine has 128-bit SIMD: validates a function that splats and counts bits. */
export function hasSimd(): boolean {
  return WebAssembly.validate(simdProbe);
}

// biome-ignore format: a line to a section
const simdProbe = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, // \0asm 1
  1, 5, 1, 96, 0, 1, 123, // type: () -> v128
  3, 2, 1, 0, // one function
  10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11, // i32.const 0, i8x16.splat, i8x16.popcnt
);

/** Where there is one: Node, Bun, Deno. */
function fileSystem() {
  return globalThis.process?.getBuiltinModule?.("node:fs/promises");
}

/** A path or file: URL is read from disk where there is one; anything else is fetched. */
async function read(from: string | URL): Promise<BufferSource> {
  const fs = fileSystem();
  const isFile = from instanceof URL ? from.protocol === "file:" : !/^[a-z][a-z\d+.-]+:/i.test(from);
  if (fs && (isFile || String(from).startsWith("file:"))) {
    return fs.readFile(isFile ? from : new URL(from));
  }
  const response = await fetch(from);
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.arrayBuffer();
}

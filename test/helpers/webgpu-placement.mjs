// Where onnxruntime-web's WebGPU build puts the nodes of models: run as a program of its own, for it takes Node for a
// browser. Kernels are looked up when a session is made, none is run, so a device that accepts everything will do.
//
//   node webgpu-placement.mjs a.onnx b.onnx
//
// prints "@@ index" and what the runtime logs for each model, and "@! message" where it does not load.
import { readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const limits = {
  maxStorageBufferBindingSize: 2 ** 31 - 4,
  maxBufferSize: 2 ** 32,
  maxComputeWorkgroupStorageSize: 32768,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
  maxComputeWorkgroupSizeY: 1024,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65535,
  maxStorageBuffersPerShaderStage: 10,
  maxBindGroups: 4,
  maxBindingsPerBindGroup: 1000,
};
const features = new Set(["shader-f16", "subgroups"]);
const info = { vendor: "none", architecture: "none", device: "none", description: "none" };

class Buffer {
  constructor({ size, usage, mappedAtCreation }) {
    Object.assign(this, {
      size,
      usage,
      mapState: mappedAtCreation ? "mapped" : "unmapped",
      data: new ArrayBuffer(size),
    });
  }
  getMappedRange() {
    return this.data;
  }
  unmap() {}
  destroy() {}
  async mapAsync() {}
}

/** An object that has every method, and every method's result is one. */
const anything = () =>
  new Proxy(() => {}, {
    get: (_, key) => (key === "then" ? undefined : key === Symbol.toPrimitive ? () => 0 : anything()),
    apply: () => anything(),
    set: () => true,
  });

const device = new Proxy(
  {
    features,
    limits,
    adapterInfo: info,
    lost: new Promise(() => {}),
    queue: { writeBuffer() {}, submit() {}, onSubmittedWorkDone: async () => {} },
    createBuffer: (descriptor) => new Buffer(descriptor),
    popErrorScope: async () => null,
    createComputePipelineAsync: async () => anything(),
    createPipelineLayout: () => ({}),
    createBindGroupLayout: () => ({}),
    createBindGroup: () => ({}),
  },
  { get: (own, key) => (key === "then" ? undefined : key in own ? own[key] : anything()), set: () => true },
);
const adapter = { features, limits, info, requestDevice: async () => device };
const gpu = { requestAdapter: async () => adapter, wgslLanguageFeatures: new Set() };
Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "none" } });
Object.assign(globalThis, { self: globalThis, GPUBuffer: Buffer, GPUMapMode: { READ: 1, WRITE: 2 } });
globalThis.GPUBufferUsage = { MAP_READ: 1, MAP_WRITE: 2, COPY_SRC: 4, COPY_DST: 8, UNIFORM: 64, STORAGE: 128 };

const dist = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
const { env, InferenceSession } = await import(join(dist, "ort.webgpu.mjs"));
env.wasm.wasmBinary = readFileSync(join(dist, "ort-wasm-simd-threaded.asyncify.wasm"));
env.wasm.numThreads = 1;
env.logLevel = "verbose";
const options = { executionProviders: ["webgpu"], logSeverityLevel: 0, graphOptimizationLevel: "disabled" };
for (const [i, path] of process.argv.slice(2).entries()) {
  writeSync(1, `\n@@ ${i}\n`);
  try {
    const session = await InferenceSession.create(new Uint8Array(readFileSync(path)), options);
    await session.release();
  } catch (error) {
    writeSync(1, `\n@! ${error.message.replaceAll("\n", " ")}\n`);
  }
}
process.exit(0);

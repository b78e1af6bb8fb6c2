import { Worker as Thread } from "node:worker_threads";

/** What a browser's worker has that Node's threads do not. */
const prelude = `
const { parentPort, workerData } = require("node:worker_threads");
globalThis.self = globalThis;
globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, transfer);
globalThis.addEventListener = (type, listener) => parentPort.on(type, (data) => listener({ data }));
import(workerData);
`;

/** A Web Worker on one of Node's threads, as far as it is used here: of errors it says as little as browsers do. */
export class NodeWorker {
  /** How many were made, and how many have not ended yet. */
  static made = 0;
  static readonly alive = new Set<NodeWorker>();
  readonly #thread: Thread;

  constructor(script: string) {
    this.#thread = new Thread(prelude, { eval: true, workerData: script });
    NodeWorker.made++;
    NodeWorker.alive.add(this);
    this.#thread.once("exit", () => NodeWorker.alive.delete(this));
  }

  addEventListener(type: string, listener: (event: { readonly data?: unknown }) => void): void {
    this.#thread.on(type, (value: unknown) => listener(type === "message" ? { data: value } : {}));
  }

  postMessage(message: unknown, transfer: ArrayBuffer[]): void {
    this.#thread.postMessage(message, transfer);
  }

  terminate(): void {
    void this.#thread.terminate();
  }
}

import { explainNow } from "./node/file-errors.ts";
import { allocate, type OpenFile } from "./node/file-source.ts";
import { readNow, writeNow } from "./node/positioned-io.ts";
import { serve } from "./workers/worker.ts";

// The script of a worker thread: files are those that the main thread has open.

serve({
  source(handle, { name, byteLength }) {
    const { fd, path } = handle as OpenFile;
    const read = (start: number, into: Uint8Array) => explainNow(path, () => readNow(fd, start, into));
    return {
      name,
      byteLength,
      async slice(start, end) {
        const bytes = allocate(end - start);
        return bytes.subarray(0, read(start, bytes));
      },
      read: async (start, into) => read(start, into),
    };
  },
  sink(handle) {
    const { fd, path } = handle as OpenFile;
    return { write: async (position, bytes) => explainNow(path, () => writeNow(fd, position, bytes)) };
  },
});

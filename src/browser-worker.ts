import { type BlobHandle, readBlob } from "./browser/blob-source.ts";
import { serve } from "./workers/worker.ts";

// The script of a Web Worker: Blobs are read here, what is made of them goes back to the page, whose sinks have no handles.

serve({
  source(handle, _, spans) {
    const { blob, name } = handle as BlobHandle;
    return readBlob(blob, name, spans);
  },
  sink() {
    throw new Error("only the page can write to its sinks");
  },
});

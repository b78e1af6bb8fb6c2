import { readSync, writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";

/** The system takes less than 2 GiB in one call. */
const STRETCH = 2 ** 30;

/** As much is read or written sooner than another thread can be asked to. */
const SHORT = 1 << 16;

/** A read may bring less than asked for; at the end of the file nothing more comes, which the caller notices. */
export async function readAt(file: FileHandle, start: number, into: Uint8Array): Promise<number> {
  let filled = into.byteLength <= SHORT ? readSync(file.fd, into, 0, into.byteLength, start) : 0;
  while (filled < into.byteLength) {
    const { bytesRead } = await file.read(into, filled, Math.min(into.byteLength - filled, STRETCH), start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/** Writes all of it. */
export async function writeAt(file: FileHandle, position: number, bytes: Uint8Array): Promise<void> {
  let written = bytes.byteLength <= SHORT ? writeSync(file.fd, bytes, 0, bytes.byteLength, position) : 0;
  while (written < bytes.byteLength) {
    const { bytesWritten } = await file.write(
      bytes,
      written,
      Math.min(bytes.byteLength - written, STRETCH),
      position + written,
    );
    written += bytesWritten;
  }
}

/** `readAt` by a file's number, at once: for threads that have nothing else to do. */
export function readNow(fd: number, start: number, into: Uint8Array): number {
  let filled = 0;
  while (filled < into.byteLength) {
    const bytesRead = readSync(fd, into, filled, Math.min(into.byteLength - filled, STRETCH), start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/** The same for `writeAt`. */
export function writeNow(fd: number, position: number, bytes: Uint8Array): void {
  let written = 0;
  while (written < bytes.byteLength) {
    written += writeSync(fd, bytes, written, Math.min(bytes.byteLength - written, STRETCH), position + written);
  }
}

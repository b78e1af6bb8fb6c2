// The command in a thread that runs it again and again: what it imports is loaded once, which takes longer than most calls.
// The command itself is evaluated anew for each call, with arguments, streams and an exit code of its own; what it listens
// to is forgotten with it, and what it does at a process's exit is done at its end.
import { Writable } from "node:stream";
import { parentPort, workerData } from "node:worker_threads";

const events = ["SIGINT", "SIGTERM", "SIGHUP", "exit"];

let calls = 0;

parentPort.on("message", async (argv) => {
  const before = new Map(events.map((event) => [event, process.listeners(event)]));
  for (const name of ["stdout", "stderr"]) {
    Object.defineProperty(process, name, { value: reported(name), configurable: true });
  }
  process.argv = [process.execPath, workerData.path, ...argv];
  process.exitCode = undefined;
  // A query makes another module of it.
  await import(`${workerData.url}?call=${calls++}`);
  const code = process.exitCode ?? 0;
  for (const event of events) {
    for (const listener of process.listeners(event)) {
      if (before.get(event).includes(listener)) continue;
      if (event === "exit") listener.call(process, code);
      process.removeListener(event, listener);
    }
  }
  process.exitCode = undefined;
  parentPort.postMessage({ code });
});

/** Sent on at once: `process.exit` ends the thread without a word more. */
function reported(name) {
  return new Writable({
    write(chunk, _, done) {
      parentPort.postMessage({ name, chunk });
      done();
    },
  });
}

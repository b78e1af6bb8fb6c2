import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { beforeEach, type TestContext } from "vitest";

// What tests need and a machine may lack: data beside the repository, programs, features of the platform. A test that
// lacks something is skipped with a note; test/reporters/skipped.ts counts the notes at the end of a run.

export interface Need {
  readonly met: boolean;
  /** What the note of a skipped test says. */
  readonly lack: string;
}

export interface DataFolder extends Need {
  readonly path: string;
}

/** Data that may not be published lies here: `../shared`, as seen from the repository. */
function shared(name: string): DataFolder {
  const path = resolve(import.meta.dirname, "../../../shared", name);
  return { path, met: existsSync(path), lack: `../shared/${name} is absent` };
}

export const sharedData = {
  golden: shared("golden"),
  models: shared("data/models"),
  images: shared("data/images"),
  tensors: shared("data/tensors"),
  nodeVectors: shared("data/onnx-node-vectors"),
} as const;

export function program(path: string): Need {
  return { met: existsSync(path), lack: `${path} is not installed` };
}

export function device(path: string): Need {
  return { met: existsSync(path), lack: `the platform has no ${path}` };
}

export const linux: Need = { met: process.platform === "linux", lack: "the platform is not Linux" };

export const x64: Need = { met: process.arch === "x64", lack: "the processor is not x64" };

/** Skips the test when one of its needs is not met. */
export function skipWithout({ skip }: Pick<TestContext, "skip">, ...needs: readonly Need[]): void {
  const unmet = needs.find(({ met }) => !met);
  if (unmet) skip(unmet.lack);
}

/** Skips each test of the surrounding suite when one of its needs is not met. */
export function skipSuiteWithout(...needs: readonly Need[]): void {
  beforeEach((context) => skipWithout(context, ...needs));
}

import { defineConfig } from "vitest/config";
import { mockingTests, systemTests, unitTests } from "./test/projects.ts";
import LongestFirst from "./test/sequencer.ts";

export default defineConfig({
  test: {
    setupFiles: ["test/setup.ts"],
    testTimeout: 60_000,
    // Vitest leaves one core to itself, which of two is half.
    maxWorkers: "100%",
    reporters: ["default", "./test/reporters/skipped.ts"],
    sequence: { sequencer: LongestFirst },
    // To load ONNX Runtime and the library anew for each file takes longer than most of them.
    projects: [
      {
        extends: true,
        test: { name: "unit", include: unitTests, isolate: false, globalSetup: "test/kernels-built.ts" },
      },
      { extends: true, test: { name: "system", include: systemTests, isolate: false } },
      { extends: true, test: { name: "mocks", include: mockingTests } },
    ],
  },
});

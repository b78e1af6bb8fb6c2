import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Of those that take longest, so that no worker is left with one of them when the others are done. */
const first = ["cli/interruptions", "onnx/models", "cli/onnx", "cli/cli", "onnx/bad-input", "cli/bad-files"];

/** Vitest knows how long files took last time; in a fresh clone there was none, and it goes by their sizes. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = first.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return at < 0 ? first.length : at;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

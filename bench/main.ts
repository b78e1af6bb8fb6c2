import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { toJson } from "../src/cli/tensor-tables.ts";
import { benchCandidates } from "./candidates.ts";
import { type Context, createContext } from "./context.ts";
import { benchFiles } from "./files.ts";
import { NOISY } from "./harness.ts";
import { benchInference } from "./inference.ts";
import { benchKernels } from "./kernels.ts";
import { benchLayers } from "./layers.ts";
import { benchLimits, judge, type LimitFigure } from "./limits.ts";
import { type GroupName, optionsOf, run, usage } from "./options.ts";
import { benchPeers, type PeerFigure } from "./peers.ts";
import { plotOption, renderPlot } from "./plot.ts";
import { benchPython } from "./python.ts";
import { benchThreads } from "./threads.ts";

/** Measures, prints its tables, and gives the figures as they go into the file of `--json`. */
type Group = (context: Context) => Promise<readonly object[]>;

const groups: Readonly<Record<GroupName, Group>> = {
  kernels: benchKernels,
  candidates: benchCandidates,
  limits: benchLimits,
  peers: benchPeers,
  layers: benchLayers,
  files: benchFiles,
  threads: benchThreads,
  inference: benchInference,
  python: benchPython,
};

const legend = `Figures are medians. spread: interquartile range in percent of it. ratios: of medians; what is compared takes turns.
noisy: a spread above ${NOISY} %, its own or that of what it is compared with; run it again on a quieter machine.
GB/s: 10^9 bytes of float32 a second, 4 bytes an element whatever is read and written.
`;

function environment() {
  const processors = cpus();
  return {
    node: process.versions.node,
    v8: process.versions.v8,
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
  };
}

async function main(args: string[]): Promise<void> {
  const options = optionsOf(args);
  const machine = environment();
  console.log(`Node ${machine.node}, V8 ${machine.v8}\n${machine.cpu}, ${machine.cores} cores\n\n${legend}`);

  const context = createContext(options);
  const figures: Partial<Record<GroupName, readonly object[]>> = {};
  try {
    for (const name of options.groups) {
      console.log(`# ${name}\n`);
      figures[name] = await groups[name](context);
      context.progress("");
    }
  } finally {
    await context.workshop.close();
  }
  if (options.check) {
    const { kept, verdict } = judge(figures.limits as readonly LimitFigure[]);
    console.log(`limits: ${verdict}`);
    if (!kept) process.exitCode = 1;
  }
  if (options.json !== undefined) await writeFile(options.json, toJson({ machine, figures }));
  if (options.plot !== undefined) {
    const title = `Node ${machine.node}, ${machine.cpu}, one thread`;
    await writeFile(options.plot, renderPlot(plotOption(figures.peers as readonly PeerFigure[], title)));
  }
}

await run(main, usage);

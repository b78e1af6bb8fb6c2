import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { createEngine, type Engine } from "../../src/index.ts";
import { builtModels, weightsBeside } from "./base-models.ts";
import { findingsIn, judge, surprises, type Verdict } from "./judge.ts";
import { differences, matrixOf, parse, render } from "./matrix.ts";
import { type Base, type Made, outputsOf, placeBase } from "./outputs.ts";
import { eachOf, runAllIn } from "./processes.ts";
import { type BaseModel, commonModels, fixtures, norms, type Row, rows } from "./rows.ts";
import { installCommand, type Runtime, runtimes } from "./versions.ts";

// npm run test:runtimes [-- --update] [-- --models DIR]: loads and runs every kind of output in every runtime of the
// matrix. Exit code 1 where that is not what the rules, the known failures and docs/runtimes.md say.

const root = resolve(import.meta.dirname, "../..");
const page = join(root, "docs/runtimes.md");
const MARK = "<!-- made by npm run test:runtimes -- --update -->\n";
const AT_ONCE = Math.min(availableParallelism(), 4);

/** Installs what is missing, if the network lets it. */
function installed(): readonly Runtime[] {
  const isWhole = () => runtimes().every(({ entry }) => entry !== undefined);
  if (!isWhole()) {
    console.error("Installing runtimes into test/runtimes/node_modules ...");
    const { status } = spawnSync("npm", installCommand, { stdio: ["ignore", "ignore", "inherit"] });
    if (status !== 0) console.error("npm could not install the runtimes: their columns have a dash.");
  }
  return runtimes();
}

async function ownBases(folder: string): Promise<Base[]> {
  const beside = weightsBeside("model.onnx.data");
  const files = { digits: "example/digits.onnx" } as Partial<Record<BaseModel, string>>;
  const pathOf = (name: (typeof fixtures)[number]) => join(root, files[name] ?? `test/fixtures/models/${name}.onnx`);
  return [
    ...(await eachOf(Object.entries(builtModels), 1, ([name, build]) => placeBase(folder, name, build()))),
    await placeBase(folder, "weights beside", beside.bytes, beside.data),
    ...(await eachOf(fixtures, 1, async (name) => placeBase(folder, name, await readFile(pathOf(name))))),
  ];
}

async function givenBases(folder: string, models: string): Promise<Base[]> {
  const names = (await readdir(models)).filter((name) => name.endsWith(".onnx"));
  return eachOf(names, 1, async (name) => placeBase(folder, name, await readFile(join(models, name))));
}

/** Of the matrix: what each row makes of its models. */
async function ownOutputs(engine: Engine, folder: string, bases: readonly Base[]): Promise<Made[]> {
  const made = await eachOf(rows, 1, async (row) => {
    const names: readonly string[] = row.models ?? commonModels;
    const own = bases.filter(({ name }) => names.includes(name));
    const outputs = (await eachOf(own, 1, (base) => outputsOf(engine, folder, row, base))).flat();
    if (outputs.length === 0) throw new Error(`${row.name}: nothing is made of ${names.join(", ")}`);
    return outputs;
  });
  return made.flat();
}

/** Of other models: the first way of each row that is not about a model of its own. Accuracy is not looked at. */
async function givenOutputs(engine: Engine, folder: string, bases: readonly Base[]): Promise<Made[]> {
  const isPlain = (name: BaseModel) => commonModels.includes(name) && !norms.some((norm) => norm === name);
  const general = rows.filter(({ models }) => (models ?? commonModels).some(isPlain));
  const plain = general.map(
    ({ models: _, ways, ...row }): Row => ({ ...row, ways: ways.slice(0, 1), floor: -Infinity }),
  );
  const made = await eachOf(bases, 1, (base) =>
    eachOf(plain, 1, (row) =>
      outputsOf(engine, folder, row, base).catch((error: Error) => {
        console.error(`not made: ${error.message}`);
        return [];
      }),
    ),
  );
  return made.flat(2);
}

/** Runs all in all runtimes, equal ones once. */
async function verdictsOn(
  bases: readonly Base[],
  made: readonly Made[],
  columns: readonly Runtime[],
): Promise<Verdict[]> {
  const unique = [...new Map(made.map((each) => [each.id, each])).values()];
  const found = new Map(await eachOf(unique, AT_ONCE, async (each) => [each.id, await findingsIn(each)] as const));
  const newest = columns.findLast(({ name }) => name.startsWith("node "))!;
  const floats = await runAllIn(newest, bases);
  const floatOf = new Map(bases.map((base, i) => [base, floats[i]!]));
  const there = columns.filter(({ entry }) => entry !== undefined);
  const verdicts = await eachOf(there, AT_ONCE, async (runtime) => {
    const results = await runAllIn(runtime, unique);
    const resultOf = new Map(unique.map(({ id }, i) => [id, results[i]!]));
    console.error(`${runtime.name}: ${unique.length} models`);
    return made.map((each) =>
      judge(each, runtime, floatOf.get(each.base)!, resultOf.get(each.id)!, found.get(each.id)!),
    );
  });
  return verdicts.flat();
}

/** What the command says of models that are not its own: a line for each, and what was not expected. */
function summary(bases: readonly Base[], verdicts: readonly Verdict[]): string {
  return bases
    .map((base) => {
      const own = verdicts.filter(({ made }) => made.base === base);
      const ran = own.filter(({ error }) => error === undefined).length;
      const known = own.filter(({ error, reason }) => error !== undefined && reason !== undefined).length;
      return `${base.name}: ${ran} of ${own.length} runs, ${known} known not to run`;
    })
    .join("\n");
}

async function checkDocs(
  columns: readonly Runtime[],
  verdicts: readonly Verdict[],
  update: boolean,
): Promise<string[]> {
  const matrix = matrixOf(rows, columns, verdicts);
  const text = render(rows, matrix);
  console.log(text);
  const [before = ""] = (await readFile(page, "utf8")).split(MARK);
  if (!update) {
    const documented = parse((await readFile(page, "utf8")).slice(before.length));
    return differences(matrix, documented).map((line) => `docs/runtimes.md: ${line}`);
  }
  if (columns.some(({ entry }) => entry === undefined)) return ["--update needs all runtimes"];
  await writeFile(page, `${before}${MARK}\n${text}`);
  return [];
}

async function main(): Promise<void> {
  const options = { update: { type: "boolean", default: false }, models: { type: "string" } } as const;
  const { update, models } = parseArgs({ options }).values;
  const columns = installed();
  const engine = await createEngine();
  const folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  try {
    const bases = models === undefined ? await ownBases(folder) : await givenBases(folder, models);
    const make = models === undefined ? ownOutputs : givenOutputs;
    const verdicts = await verdictsOn(bases, await make(engine, folder, bases), columns);
    const lines = surprises(verdicts);
    if (models === undefined) lines.push(...(await checkDocs(columns, verdicts, update)));
    else console.log(summary(bases, verdicts));
    for (const line of lines) console.error(line);
    if (lines.length > 0) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main();

import type { TensorFiles } from "../../io/tensor-data.ts";
import type { Node, Tensor } from "../../ir/graph.ts";
import type { NodeSite, Scope } from "../../ir/scopes.ts";
import { isConstantNode } from "./constant-regions.ts";
import { type ConstantValue, loadValue, NoFloats, NotComputed, tensorOf, valueOfAttribute } from "./constant-value.ts";
import { evaluateNode, workOf } from "./evaluate-node.ts";
import type { ComputedWeight } from "./find-computed-weights.ts";
import { isFloat } from "./float-types.ts";

/** Most bytes of values at a time, the weights that come of them among them: 256 MB. */
const MOST_BYTES = 2 ** 28;

/** Elements that may be computed for a file, and more for each of its bytes: weights take some dozen an element. */
const LEAST_WORK = 2 ** 26;
const WORK_PER_BYTE = 32;

/** Weights that were computed for other models of the same file, by `keyOf`; a set of models has them once. */
const computed = new WeakMap<TensorFiles, Map<string, Tensor>>();

/** A value, or why there is none. */
type Outcome = ConstantValue | NotComputed;

/** A value that is made or read, and how many are still to take it. */
interface Held {
  outcome: Outcome | undefined;
  users: number;
}

/** Computes values that only constants go into. */
export class Evaluator {
  #bytes = 0;
  #work: number;
  #held = new Map<Scope, Map<string, Held>>();

  constructor(private readonly files: TensorFiles) {
    this.#work = LEAST_WORK + WORK_PER_BYTE * files.byteLength;
  }

  /**
   * The values of weights as float initializers, or why there is none; what several of them need is computed once.
   *
   * @throws FormatError where constants are damaged
   */
  async tensorsOf(weights: readonly ComputedWeight[]): Promise<Map<ComputedWeight, Tensor | NotComputed>> {
    const known = computed.get(this.files) ?? new Map<string, Tensor>();
    computed.set(this.files, known);
    const thereFor = (weight: ComputedWeight) => (weight.scope.outer ? undefined : known.get(keyOf(weight)));
    const wanted = weights.filter((weight) => !thereFor(weight));
    const sites = new Map(wanted.flatMap(({ region }) => region.nodes.map((site) => [site.node, site] as const)));
    this.#held = new Map();
    // A weight has a user more than its nodes: it is not let go.
    for (const { scope, name } of wanted) this.#at(scope, name).users++;
    for (const { node, scope } of sites.values()) for (const name of namesOf(node)) this.#at(scope, name).users++;
    for (const site of sites.values()) await this.#compute(site);
    const tensors = new Map<ComputedWeight, Tensor | NotComputed>();
    for (const weight of weights) {
      const { scope, name } = weight;
      const held = this.#at(scope, name);
      const made = thereFor(weight) ?? initializerOf(name, held.outcome);
      if (made instanceof NotComputed) this.#release(held);
      if (!scope.outer && !(made instanceof NotComputed)) known.set(keyOf(weight), made);
      tensors.set(weight, made);
    }
    this.#held = new Map();
    return tensors;
  }

  async #compute({ node, scope }: NodeSite): Promise<void> {
    const names = namesOf(node);
    const before: Outcome[] = [];
    for (const name of names) before.push(await this.#outcomeOf(scope, name));
    const failed = before.find((each) => each instanceof NotComputed);
    const byName = new Map(names.map((name, i) => [name, before[i] as ConstantValue]));
    const made =
      failed ??
      (await outcomeOf(async () => {
        if (isConstantNode(node)) return attributeValue(node);
        const inputs = node.inputs.map((name) => byName.get(name));
        if (this.#work <= 0) throw new NotComputed("it takes too long for a file of this size");
        const values = await evaluateNode(node, inputs, this.files);
        this.#work -= workOf(node, inputs, values);
        return values;
      }));
    for (const [i, name] of node.outputs.entries()) {
      const outcome = made instanceof NotComputed ? made : (made[i] ?? new NotComputed("an output that is not made"));
      if (name !== "" && this.#at(scope, name).users > 0) this.#hold(this.#at(scope, name), outcome);
    }
    for (const name of names) this.#release(this.#at(scope, name));
  }

  async #outcomeOf(scope: Scope, name: string): Promise<Outcome> {
    const held = this.#at(scope, name);
    const definition = scope.find(name);
    if (!held.outcome && definition?.kind === "constant") {
      this.#hold(held, await outcomeOf(() => loadValue(definition.constant.tensor, this.files)));
    }
    return held.outcome!;
  }

  /** By the scope that it is defined in: names of different graphs may be alike. */
  #at(scope: Scope, name: string): Held {
    const home = scope.home(name)!;
    const byName = this.#held.get(home) ?? new Map<string, Held>();
    this.#held.set(home, byName);
    const held = byName.get(name) ?? { outcome: undefined, users: 0 };
    byName.set(name, held);
    return held;
  }

  #hold(held: Held, outcome: Outcome): void {
    const bytes = bytesOf(outcome);
    const isFull = this.#bytes + bytes > MOST_BYTES;
    held.outcome = isFull ? new NotComputed(`more than ${MOST_BYTES / 2 ** 20} MiB of values`) : outcome;
    if (!isFull) this.#bytes += bytes;
  }

  #release(held: Held): void {
    if (--held.users > 0) return;
    this.#bytes -= bytesOf(held.outcome);
    held.outcome = undefined;
  }
}

/** Names a weight in all models of a file: functions that are inlined in one of them alone may shift names in it. */
function keyOf({ name, region: { nodes, sources } }: ComputedWeight): string {
  const places = [
    ...nodes.map(({ node }) => node.origin?.message.start),
    ...Array.from(sources, ({ tensor }) => tensor.message?.start),
  ];
  return `${name} ${places.join()}`;
}

/** The inputs of a node, each once. */
function namesOf({ inputs }: Node): string[] {
  return [...new Set(inputs)].filter((name) => name !== "");
}

function bytesOf(outcome: Outcome | undefined): number {
  return outcome && !(outcome instanceof NotComputed) ? outcome.data.byteLength : 0;
}

async function outcomeOf<T>(make: () => Promise<T>): Promise<T | NotComputed> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof NotComputed) return error;
    throw error;
  }
}

function attributeValue(node: Node): readonly ConstantValue[] {
  const value = valueOfAttribute(node);
  if (!value) throw new NotComputed("a Constant of another kind");
  return [value];
}

function initializerOf(name: string, value: Outcome | undefined): Tensor | NotComputed {
  if (!value || value instanceof NotComputed) return value ?? new NotComputed("an output that is not made");
  if (!isFloat(value.type)) return new NoFloats(value.type);
  if (value.type === "float64") return new NotComputed("it is float64");
  if (!value.data.every(Number.isFinite)) return new NotComputed("it would hold NaN or infinities");
  return tensorOf(name, value);
}

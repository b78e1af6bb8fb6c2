import type { TensorFiles } from "../../io/tensor-data.ts";
import type { Node, Tensor } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";
import type { ConstantRegion } from "./constant-regions.ts";
import { isConstantNode } from "./constant-regions.ts";
import { type ConstantValue, loadValue, NotComputed, tensorOf, valueOfAttribute } from "./constant-value.ts";
import { evaluateNode } from "./evaluate-node.ts";

/** Most bytes of all values that are computed for a model: 256 MB. */
const MOST_BYTES = 2 ** 28;

/** Weights that were computed for other models of the same file, by name; a set of models has them once. */
const computed = new WeakMap<TensorFiles, Map<string, Tensor>>();

/** Computes values that only constants go into. */
export class Evaluator {
  #bytes = 0;

  constructor(private readonly files: TensorFiles) {}

  /**
   * The value of a name as an initializer of float32.
   *
   * @throws NotComputed with the reason, FormatError where constants are damaged
   */
  async tensorOf(name: string, scope: Scope, region: ConstantRegion): Promise<Tensor> {
    const known = computed.get(this.files) ?? new Map<string, Tensor>();
    computed.set(this.files, known);
    const isOuter = scope.home(name)?.outer === undefined;
    const there = isOuter ? known.get(name) : undefined;
    if (there) return there;
    const value = await this.#numbersValue(name, scope, region);
    if (value.type !== "float32") throw new NotComputed("integers");
    if (!value.data.every(Number.isFinite)) throw new NotComputed("it would hold NaN or infinities");
    const tensor = tensorOf(name, value);
    if (isOuter) known.set(name, tensor);
    return tensor;
  }

  async #numbersValue(name: string, scope: Scope, { nodes }: ConstantRegion): Promise<ConstantValue> {
    const values = new Map<string, ConstantValue>();
    const keys = new Map<Scope, number>();
    // Names of different graphs may be alike.
    const keyOf = (within: Scope, each: string) => {
      const home = within.home(each)!;
      if (!keys.has(home)) keys.set(home, keys.size);
      return `${keys.get(home)} ${each}`;
    };
    const value = async (within: Scope, each: string): Promise<ConstantValue | undefined> => {
      if (each === "") return undefined;
      const made = values.get(keyOf(within, each));
      const definition = within.find(each);
      if (made || definition?.kind !== "constant") return made;
      return this.#kept(await loadValue(definition.constant.tensor, this.files));
    };
    const last = lastUses(nodes.map(({ node }) => node));
    for (const [i, { node, scope: within }] of nodes.entries()) {
      const inputs: (ConstantValue | undefined)[] = [];
      for (const input of node.inputs) inputs.push(await value(within, input));
      const outputs = isConstantNode(node) ? attributeValue(node) : await evaluateNode(node, inputs, this.files);
      outputs.forEach((made, at) => {
        const output = node.outputs[at];
        if (output) values.set(keyOf(within, output), this.#kept(made));
      });
      for (const input of last.get(i) ?? []) if (input !== name) values.delete(keyOf(within, input));
    }
    return values.get(keyOf(scope, name))!;
  }

  #kept(value: ConstantValue): ConstantValue {
    this.#bytes += value.data.byteLength;
    if (this.#bytes > MOST_BYTES) throw new NotComputed(`more than ${MOST_BYTES / 2 ** 20} MiB of values`);
    return value;
  }
}

function attributeValue(node: Node): readonly ConstantValue[] {
  const value = valueOfAttribute(node);
  if (!value) throw new NotComputed("a Constant of another kind");
  return [value];
}

/** The inputs that nobody takes behind each of the nodes, by its number. */
function lastUses(nodes: readonly Node[]): ReadonlyMap<number, readonly string[]> {
  const at = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const input of node.inputs) if (input !== "") at.set(input, i);
  });
  const last = new Map<number, string[]>();
  for (const [name, i] of at) last.set(i, [...(last.get(i) ?? []), name]);
  return last;
}

import { option, type Words, words } from "../../../messages.ts";
import type { TensorFiles } from "../../io/tensor-data.ts";
import type { FreshNames } from "../../ir/fresh-names.ts";
import { type Attribute, intAttribute, makeAttribute, makeNode, type Node } from "../../ir/graph.ts";
import type { NodeSite, Scope } from "../../ir/scopes.ts";
import type { ElementType } from "../../proto/schema.ts";
import type { DeclaredValue, DeclaredValues } from "./declared-values.ts";
import { type NumberType, nodeError, numbersOf, numbersTensor } from "./number-tensors.ts";
import { type Shape, shapeOf, typeOf } from "./shape-inference.ts";

/** What a rewrite did, in a few words for the report; nothing where there was nothing to do. */
export type Done = string | undefined;

/** Makes a node of one opset mean the same in the next. */
export type Rewrite = (step: Step) => Done | Promise<Done>;

/** What all steps from one opset to the next share. */
export interface Surroundings {
  readonly file: string;
  readonly files: TensorFiles;
  readonly names: FreshNames;
  /** As they were before any node of this step was rewritten. */
  readonly values: DeclaredValues;
  /** Names that some node takes, or some graph gives. */
  readonly used: ReadonlySet<string>;
  /** The opset that the model was in, and the one this step leads to. */
  readonly from: number;
  readonly opset: number;
  /** What to do about a node that cannot be taken there; by default to take a lower opset. */
  readonly cure?: string | Words | undefined;
}

/** One node on its way from one opset to the next: what can be asked about it, and what may be put beside it. */
export class Step implements NodeSite {
  readonly before: Node[] = [];
  readonly after: Node[] = [];
  readonly label: string;
  readonly #opType: string;

  constructor(
    readonly node: Node,
    readonly scope: Scope,
    private readonly around: Surroundings,
  ) {
    this.label = node.name || (node.outputs.find((output) => output !== "") ?? "");
    this.#opType = node.opType;
  }

  shape(name: string | undefined): Shape | undefined {
    return shapeOf(this.#value(name));
  }

  type(name: string | undefined): ElementType | undefined {
    return typeOf(this.#value(name));
  }

  /** The numbers of a value that never changes and is short. */
  async constant(name: string | undefined): Promise<readonly number[] | undefined> {
    const tensor = this.#value(name)?.constant;
    return tensor && numbersOf(tensor, this.around.files);
  }

  #value(name: string | undefined): DeclaredValue | undefined {
    return name ? this.around.values.find(this.scope, name) : undefined;
  }

  isUsed(name: string | undefined): boolean {
    return name !== undefined && this.around.used.has(name);
  }

  /** Numbers as an initializer of the node's graph: its name. */
  numbers(
    what: string,
    type: NumberType,
    values: readonly number[],
    shape: readonly number[] = [values.length],
  ): string {
    const name = this.newName(what);
    this.scope.graph.initializers.push(numbersTensor(name, type, shape, values));
    return name;
  }

  /** A node that makes an input: the name of what it gives. */
  insert(opType: string, inputs: readonly string[], what: string, attributes: readonly Attribute[] = []): string {
    const output = this.newName(what);
    this.before.push(makeNode(opType, inputs, [output], { attributes }));
    return output;
  }

  /** A node between the node's output and whoever takes it; `inputs` is told the name that output has from now on. */
  append(
    opType: string,
    inputs: (output: string) => readonly string[],
    what: string,
    attributes: readonly Attribute[] = [],
    index = 0,
  ): void {
    const { node } = this;
    const given = node.outputs[index]!;
    const inner = this.newName(what);
    node.outputs = node.outputs.map((output, i) => (i === index ? inner : output));
    const name = this.newName(opType.toLowerCase());
    this.after.push(makeNode(opType, inputs(inner), [given], { name, attributes }));
  }

  newName(what: string): string {
    return this.around.names.fresh(`${this.label || this.#opType}_${what}`);
  }

  /** Says why the node cannot be taken to this opset. */
  refuse(why: string): never {
    const { file, from, opset, cure } = this.around;
    const lower =
      opset - 1 > from ? words`raise no further (${option("opset", opset - 1)})` : `leave the model at opset ${from}`;
    throw nodeError(file, this.#opType, this.label, `cannot be raised to opset ${opset}: ${why}`, cure ?? lower);
  }

  /** What reports call the node. */
  get what(): string {
    return `${this.#opType} ${JSON.stringify(this.label)}`;
  }
}

export function hasAttribute(node: Node, name: string): boolean {
  return node.attributes.some((attribute) => attribute.name === name);
}

/** Takes attributes away; whether there were any. */
export function dropAttributes(node: Node, ...names: string[]): boolean {
  const kept = node.attributes.filter(({ name }) => !names.includes(name));
  if (kept.length === node.attributes.length) return false;
  node.attributes = kept;
  return true;
}

/** In the place of the one that has its name, or behind the others. */
export function putAttribute(node: Node, attribute: Attribute): void {
  const index = node.attributes.findIndex(({ name }) => name === attribute.name);
  node.attributes = index < 0 ? [...node.attributes, attribute] : node.attributes.with(index, attribute);
}

export function putInt(node: Node, name: string, value: number): void {
  putAttribute(node, intAttribute(name, value));
}

export function putString(node: Node, name: string, value: string): void {
  putAttribute(node, makeAttribute(name, { kind: "string", value }));
}

export function intsAttribute(name: string, value: readonly number[]): Attribute {
  return makeAttribute(name, { kind: "ints", value });
}

/** Inputs without those left out at the end. */
export function trimmed(inputs: readonly string[]): readonly string[] {
  return inputs.slice(0, inputs.findLastIndex((input) => input !== "") + 1);
}

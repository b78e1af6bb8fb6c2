import { attributeOf, type Model, type Node, type Tensor } from "../ir/graph.ts";
import { opNameOf } from "../ir/operators.ts";
import type { NodeSite, Scope } from "../ir/scopes.ts";
import { Values } from "../ir/types/type-inference.ts";
import type { ElementType } from "../proto/schema.ts";

/** A node, and what the rules of targets ask of it. */
export interface TargetNode extends NodeSite {
  readonly op: string;
  readonly opset: number;
  /** Whether its inputs are constants or shapes: such nodes are computed when a model is loaded, or cost nothing. */
  readonly isLight: boolean;
  /** Whether the model itself defines what it does. */
  readonly isFunction: boolean;
  typeOf(input: number): ElementType | undefined;
  constantAt(input: number): Tensor | undefined;
  /** The node that makes an input, and where that stands. */
  before(input: number): TargetNode | undefined;
  /** The nodes beside it that take its first output. */
  after(): readonly TargetNode[];
  int(attribute: string, otherwise: number): number;
}

/** The nodes of a model, those of graphs within too. */
export function* targetNodesOf(model: Model, root: Scope): Generator<TargetNode> {
  // Most models have no node that a rule asks this of.
  let found: Values | undefined;
  const values = () => {
    found ??= new Values(root);
    return found;
  };
  let light: ReadonlySet<Node> | undefined;
  const isLight = (node: Node) => {
    light ??= lightValues(root);
    return light.has(node);
  };
  const functions = new Set(model.functions.map(({ domain, name }) => `${domain}:${name}`));
  const targetNodeOf = (node: Node, scope: Scope): TargetNode => ({
    node,
    scope,
    op: opNameOf(node),
    opset: model.opsets.get(node.domain) ?? 1,
    get isLight() {
      return isLight(node);
    },
    isFunction: functions.has(`${node.domain}:${node.opType}`),
    typeOf: (input) => values().find(scope, node.inputs[input] ?? "")?.type,
    constantAt: (input) => {
      const definition = scope.find(node.inputs[input] || "");
      return definition?.kind === "constant" ? definition.constant.tensor : undefined;
    },
    before: (input) => {
      const definition = scope.find(node.inputs[input] || "");
      return definition?.kind === "node" ? targetNodeOf(definition.node, definition.scope) : undefined;
    },
    after: () => {
      const takers = values().within(scope, node.outputs[0] ?? "")?.takers ?? [];
      const users = new Set(takers.filter((taker) => taker.scope === scope).map((taker) => taker.node));
      return Array.from(users, (user) => targetNodeOf(user, scope));
    },
    int: (attribute, otherwise) => attributeOf(node, attribute, "int") ?? otherwise,
  });
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) yield targetNodeOf(node, scope);
  }
}

/** Nodes whose inputs are constants or come from shapes. DequantizeLinear is left where it is when a model is loaded. */
function lightValues(root: Scope): ReadonlySet<Node> {
  const light = new Set<Node>();
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      const isLight = node.inputs.every((name) => {
        if (name === "") return true;
        const definition = scope.find(name);
        return definition?.kind === "constant" || (definition?.kind === "node" && light.has(definition.node));
      });
      const hasGraphs = node.attributes.some(({ graphs }) => graphs.length > 0);
      const isShape = node.domain === "" && (node.opType === "Shape" || node.opType === "Size");
      if ((isLight && !hasGraphs && !keeps.has(node.opType)) || isShape) light.add(node);
    }
  }
  return light;
}

const keeps = new Set(["DequantizeLinear", "RandomNormal", "RandomUniform"]);

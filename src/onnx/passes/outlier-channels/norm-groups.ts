import type { Model, Node, Tensor } from "../../ir/graph.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Constant, Scope } from "../../ir/scopes.ts";
import type { ValueUser, ValueUsers } from "../../ir/value-users.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import type { GraphEdits } from "../graph-edits.ts";
import { findNorms, type Norm } from "./find-norms.ts";
import type { Rows } from "./scaled-rows.ts";

/** A weight that an integer product takes, a row of it for each channel of a norm. */
export interface RowsBehind extends Rows {
  readonly constant: FloatConstant;
  readonly node: Node;
  /** The input of the node that it is. */
  readonly input: number;
}

/** Norms that share their scale, as layers that repeat do, and the weights of the integer products behind them. */
export interface NormGroup {
  readonly norms: readonly Norm[];
  readonly weights: readonly RowsBehind[];
  /** Why the scale cannot be folded into them, if it cannot. */
  readonly obstacle: string | undefined;
}

/** Where operators that multiply with integers have the matrix; what is multiplied comes first. */
const matrixAt: Readonly<Record<string, number>> = { MatMul: 1, Gemm: 1, LSTM: 1, "com.microsoft.Attention": 1 };

/** What leaves values in their order: where a product sums over as many of them as there are channels, these are the channels. */
const reshapers = new Set(["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"]);

/** Finds norms whose result is quantized as it comes, for products that are computed in integers. */
export class NormGroups {
  readonly #constants: ReadonlyMap<Tensor, FloatConstant>;

  constructor(
    private readonly model: Model,
    private readonly users: ValueUsers,
    constants: readonly FloatConstant[],
    /** What the dynamic mode makes of the model. */
    private readonly made: GraphEdits,
  ) {
    this.#constants = new Map(constants.map((constant) => [constant.tensor, constant]));
  }

  find(root: Scope): NormGroup[] {
    const found: NormGroup[] = [];
    const free = new Map<Tensor, NormGroup[]>();
    for (const norm of findNorms(root, this.users)) {
      const group = this.#groupOf(norm);
      if (group.weights.length === 0) continue;
      const { tensor } = norm.scale.constant;
      if (group.obstacle !== undefined) found.push(group);
      else free.set(tensor, [...(free.get(tensor) ?? []), group]);
    }
    return [...found, ...Array.from(free.values(), (groups) => this.#joined(groups))];
  }

  /** One norm, and what stands against it alone. */
  #groupOf(norm: Norm): NormGroup {
    const { scope, output, scale, bias, isOpen } = norm;
    const { weights, obstacle } = this.#behind(scope, output, norm);
    const set = [scale, bias].find((each) => each && this.#isSet(each.constant));
    const own = isOpen ? "the bias is not a constant" : set && `callers may set ${JSON.stringify(set.constant.name)}`;
    return { norms: [norm], weights, obstacle: obstacle ?? own };
  }

  /** The weights of the products that take a value, and what keeps it from being another. */
  #behind(scope: Scope, name: string, norm: Norm): Pick<NormGroup, "weights" | "obstacle"> {
    const weights: RowsBehind[] = [];
    let obstacle: string | undefined;
    const open = [{ scope, name }];
    for (let at = open.pop(); at; at = open.pop()) {
      if (this.users.isOutput(at.scope, at.name)) obstacle ??= "the graph gives the result";
      for (const user of this.users.of(at.scope, at.name)) {
        const rows = this.#rowsBehind(user, norm);
        const { node, input } = user;
        if (rows) weights.push(rows);
        else if (!reshapers.has(opNameOf(node)) || input > 0)
          obstacle ??= `${opNameOf(node)} takes the result as it is`;
        else open.push({ scope: user.scope, name: node.outputs[0] ?? "" });
      }
    }
    return { weights, obstacle };
  }

  #rowsBehind({ node, scope, input }: ValueUser, { channels }: Norm): RowsBehind | undefined {
    const op = opNameOf(node);
    const matrix = Object.hasOwn(matrixAt, op) ? matrixAt[op]! : undefined;
    if (matrix === undefined || input !== 0 || !this.made.isReplaced(node)) return undefined;
    const definition = scope.find(node.inputs[matrix] ?? "");
    const constant = definition?.kind === "constant" ? this.#constants.get(definition.constant.tensor) : undefined;
    if (constant?.dtype !== "float32") return undefined;
    const axis = constant.uses.find((use) => use.node === node && use.input === matrix)?.axes?.block;
    const { tensor } = constant;
    return axis !== undefined && tensor.shape[axis] === channels
      ? { tensor, axis, constant, node, input: matrix }
      : undefined;
  }

  /** Norms with one scale, their weights each once: a weight of several has the same factors from all. */
  #joined(groups: readonly NormGroup[]): NormGroup {
    const all = groups.flatMap(({ weights }) => weights);
    const weights = [...new Map(all.map((rows) => [rows.tensor, rows])).values()];
    const takers = new Map<Node, RowsBehind>(all.map((rows) => [rows.node, rows]));
    return {
      norms: groups.flatMap(({ norms }) => norms),
      weights,
      obstacle: weights.map((rows) => this.#obstacleAt(rows, takers)).find((each) => each !== undefined),
    };
  }

  /** What keeps a weight's rows from being scaled, if not all that take it are products over the same rows. */
  #obstacleAt({ constant, axis }: RowsBehind, takers: ReadonlyMap<Node, RowsBehind>): string | undefined {
    const weight = JSON.stringify(constant.name);
    if (this.#isSet(constant)) return `callers may set ${weight}`;
    const other = constant.uses.find(({ node, input }) => {
      const rows = takers.get(node);
      return rows?.input !== input || rows.axis !== axis;
    });
    const taker = other?.node ?? constant.viewers[0];
    if (taker) return `${opNameOf(taker)} takes the weight ${weight} as it is`;
    return constant.isShown ? `the graph gives the weight ${weight}` : undefined;
  }

  /** Whether an initializer is a default that callers may replace: up to IR 3 all are inputs, and none is meant so. */
  #isSet({ graph, name }: Constant): boolean {
    return this.model.irVersion > 3 && graph.inputs.some((input) => input.name === name);
  }
}

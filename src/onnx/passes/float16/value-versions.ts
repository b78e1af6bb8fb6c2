import type { HalfDType } from "../../../dtypes.ts";
import { HalfJob } from "../../codecs/half-codec.ts";
import { FreshNames } from "../../ir/fresh-names.ts";
import { intAttribute, type Model, makeNode, makeTensor, type Node, type Tensor } from "../../ir/graph.ts";
import type { Constant } from "../../ir/scopes.ts";
import type { Value, Values } from "../../ir/types/type-inference.ts";
import { codeOf } from "../../proto/schema.ts";
import type { FloatConstant } from "../../weights/find-weights.ts";
import type { GraphEdits } from "../graph-edits.ts";
import { isLarge, isSingle } from "./float32-islands.ts";
import { isFloat } from "./node-order.ts";
import { isCast, type Precision, type Roles } from "./node-precision.ts";

/** The names that a value has: one for each precision that someone wants it in. */
type PrecisionNames = Partial<Record<Precision, string>>;

/** Of constants that nobody else takes: what ConstantOfShape is filled with. */
const lone = { dtype: "float32", uses: [], viewers: [], isShown: false } as const;

export interface VersionOptions {
  readonly dtype: HalfDType;
  readonly clamp: boolean;
}

/** In which precisions values are there, by which names, and the Casts and tensors that make them so. */
export class Versions {
  readonly jobs: HalfJob[] = [];
  /** What is left to Cast nodes of the model's own: the precisions they give. */
  readonly casts = new Map<Node, PrecisionNames>();
  readonly #needs = new Map<Value, Set<Precision>>();
  readonly #names = new Map<Value, PrecisionNames>();
  /** Values that a Cast has made of others, and that need no Cast any more. */
  readonly #same = new Map<Value, Value>();
  readonly #constants: ReadonlyMap<Tensor, FloatConstant>;
  readonly #fresh: FreshNames;

  constructor(
    model: Model,
    values: Values,
    private readonly roles: Roles,
    constants: readonly FloatConstant[],
    private readonly edits: GraphEdits,
    private readonly options: VersionOptions,
  ) {
    this.#constants = new Map(constants.map((constant) => [constant.tensor, constant]));
    this.#fresh = new FreshNames(model);
    for (const value of values.all) {
      if (isFloat(value) && value.isGiven) this.#need(value, roles.interfaceOf(value.scope));
    }
    // Those who take a value stand behind what makes it.
    for (const { node, inputs, outputs } of roles.places.toReversed()) this.#gather(node, inputs, outputs[0]);
    for (const value of values.all) if (isFloat(value)) this.#names.set(value, this.#plan(value));
  }

  /** The name of a value as it is wanted. */
  nameOf(value: Value, precision: Precision | "any"): string {
    let at = value;
    let wanted = precision;
    for (let origin = this.#same.get(at); origin; origin = this.#same.get(at)) {
      if (!isFloat(at)) wanted = "half";
      at = origin;
    }
    const names = this.#names.get(at);
    if (!names) return at.name;
    return (wanted === "any" ? (names.float ?? names.half) : names[wanted]) ?? at.name;
  }

  /** What stands under a value's own name from now on; undefined where nothing does. */
  precisionAt(value: Value): Precision | undefined {
    const { half, float } = this.#names.get(value) ?? {};
    return half === value.name ? "half" : float === value.name ? "float" : undefined;
  }

  isGone(value: Value): boolean {
    return this.#same.has(value);
  }

  #need(value: Value, precision: Precision): void {
    const precisions = this.#needs.get(value);
    if (precisions) precisions.add(precision);
    else this.#needs.set(value, new Set([precision]));
  }

  #gather(node: Node, inputs: readonly (Value | undefined)[], output: Value | undefined): void {
    const [input] = inputs;
    if (isCast(node) && isFloat(input) && output && !output.isGiven) {
      const isHalved = output.type === this.options.dtype;
      if (isFloat(output) || isHalved) {
        this.#same.set(output, input);
        for (const precision of isHalved ? (["half"] as const) : (this.#needs.get(output) ?? []))
          this.#need(input, precision);
        return;
      }
    }
    inputs.forEach((value, i) => {
      const precision = this.roles.takes({ node }, i);
      if (isFloat(value) && precision !== "any") this.#need(value, precision);
    });
  }

  #plan(value: Value): PrecisionNames {
    const needs = this.#needs.get(value) ?? new Set();
    if (this.#same.has(value)) return {};
    if (value.constant) return this.#planConstant(value, value.constant, needs);
    // Inputs with defaults likewise: ONNX Runtime 1.23 and 1.24 crash where such an input is float16.
    if (value.isSparse || value.fallback) return this.#planFrom(value, "float", needs);
    if (!value.maker) return this.#planFrom(value, this.roles.interfaceOf(value.scope), needs);
    const place = this.roles.placeOf(value.maker);
    const precision = this.roles.gives(place, value.output);
    return precision === "either"
      ? this.#planCast(value, place.inputs[0], needs)
      : this.#planFrom(value, precision, needs);
  }

  /** A value that is there in one precision, and in the other by a Cast. */
  #planFrom(value: Value, home: Precision, needs: ReadonlySet<Precision>): PrecisionNames {
    const other = home === "half" ? "float" : "half";
    const pinned = this.#pinned(value);
    const names: PrecisionNames = { [home]: pinned === other ? this.#newName(value, home) : value.name };
    if (!needs.has(other)) return names;
    names[other] = pinned === other ? value.name : this.#newName(value, other);
    const cast = this.#cast(names[home]!, names[other], other);
    if (value.maker) this.edits.follow(value.maker, [cast]);
    else this.edits.prepend(value.scope.graph, [cast]);
    return names;
  }

  /** A Cast can give both precisions of its input, and is not needed for one that this has already. */
  #planCast(value: Value, input: Value | undefined, needs: ReadonlySet<Precision>): PrecisionNames {
    const pinned = this.#pinned(value);
    const names: PrecisionNames = {};
    const given: PrecisionNames = {};
    for (const precision of needs.size > 0 ? needs : (["float"] as const)) {
      const isThere = precision === "half" && pinned !== "half" && input?.type === this.options.dtype;
      const isFirst = pinned === precision || (pinned === undefined && Object.keys(given).length === 0);
      names[precision] = isThere ? this.nameOf(input, "any") : isFirst ? value.name : this.#newName(value, precision);
      if (!isThere) given[precision] = names[precision];
    }
    this.casts.set(value.maker!, given);
    return names;
  }

  #planConstant(value: Value, constant: Constant, needs: ReadonlySet<Precision>): PrecisionNames {
    const { tensor, graph, node, name } = constant;
    if (!needs.has("half")) return { float: value.name };
    if (tensor.data.kind === "pending" || tensor.data.kind === "placed") return this.#planFrom(value, "float", needs);
    // A number out of range that someone takes as a half all the same becomes infinite where the model runs.
    if (this.roles.range.isUnfit(value)) return this.#planFrom(value, "float", needs);
    const job = this.halve(value, constant, isRaised(value));
    const halved = (as: string) => makeTensor(as, this.options.dtype, tensor.shape, job.halves);
    if (!needs.has("float")) {
      this.edits.substitute({ graph, tensor, node, name }, [halved(value.name)]);
      return { half: value.name };
    }
    const pinned = this.#pinned(value);
    const half = pinned === "half" ? value.name : this.#newName(value, "half");
    if (pinned !== "half" && !isLarge(value)) {
      this.edits.addTensors(graph, [halved(half)]);
      return { float: value.name, half };
    }
    const float = pinned === "half" ? this.#newName(value, "float") : value.name;
    this.edits.substitute({ graph, tensor, node, name }, [halved(half)]);
    this.edits.prepend(graph, [this.#cast(half, float, "float")]);
    return { half, float };
  }

  /** Notes that the values of a constant, or of what a value is filled with, are to be narrowed. */
  halve(value: Value, constant: Constant, raises: boolean): HalfJob {
    const known = this.#constants.get(constant.tensor) ?? { ...constant, ...lone };
    const isKnown = this.roles.options.numbers.of(constant.tensor) !== undefined;
    const clamps = this.options.clamp && !isKnown ? "all" : this.roles.range.clampingOf(value);
    const job = new HalfJob(known, this.options.dtype, { clamps, raises });
    this.jobs.push(job);
    return job;
  }

  #cast(from: string, to: string, precision: Precision): Node {
    const name = this.#fresh.fresh(`${to}_cast`);
    return makeNode("Cast", [from], [to], { name, attributes: [this.castTo(precision)] });
  }

  castTo(precision: Precision) {
    return intAttribute("to", codeOf(precision === "half" ? this.options.dtype : "float32"));
  }

  /** The precision that a value must have under its own name, being given by its graph. */
  #pinned(value: Value): Precision | undefined {
    const isFixed = value.isSparse || value.fallback || (value.constant && this.roles.range.isUnfit(value));
    return value.isGiven && !isFixed ? this.roles.interfaceOf(value.scope) : undefined;
  }

  #newName({ name }: Value, precision: Precision): string {
    return this.#fresh.fresh(`${name}_${precision === "half" ? this.options.dtype : "float32"}`);
  }
}

/** Whether 0 would be no approximation: of single numbers, which keep others from being 0, and where one divides by it. */
function isRaised(value: Value): boolean {
  return isSingle(value) || value.takers.some(({ node, input }) => node.opType === "Div" && input === 1);
}

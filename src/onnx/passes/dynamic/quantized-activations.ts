import type { FreshNames } from "../../ir/fresh-names.ts";
import { intAttribute, makeNode, type Node } from "../../ir/graph.ts";
import type { Scope } from "../../ir/scopes.ts";
import { codeOf, type ElementType } from "../../proto/schema.ts";
import type { GraphEdits } from "../graph-edits.ts";

/** The names of a value's uint8 codes, scale and zero point. */
export interface Quantized {
  readonly codes: string;
  readonly scale: string;
  readonly zeroPoint: string;
}

/** A value that is made of codes. */
export interface Made extends Quantized {
  readonly name: string;
  /** The node that gives them. */
  readonly by: Node;
  readonly type: ElementType;
  /** Nodes that take the codes, as their first input. */
  readonly takers: Set<Node>;
}

/** Values that nodes take as codes: each is quantized once, where it is made, for all that take it. */
export class Activations {
  readonly #quantized = new Map<Scope, Map<string, Quantized>>();
  /** Values that are made of codes, and the nodes that take these. */
  readonly #made = new Map<Scope, Map<string, Made>>();
  readonly #floats = new Map<Scope, Map<string, string>>();

  constructor(
    private readonly names: FreshNames,
    private readonly edits: GraphEdits,
  ) {}

  /**
   * A value's codes: those it is made of, or what DynamicQuantizeLinear makes of it, which takes float32 alone.
   *
   *   value -> [Cast ->] DynamicQuantizeLinear -> codes, scale, zero point
   */
  quantized(scope: Scope, name: string, isFloat32: boolean, by: Node): Quantized {
    const home = scope.home(name)!;
    const known = this.taken(scope, name, by);
    if (known) return known;
    const there = this.#quantized.get(home)?.get(name);
    if (there) return there;
    const made = {
      codes: this.names.fresh(`${name}_quantized`),
      scale: this.names.fresh(`${name}_scale`),
      zeroPoint: this.names.fresh(`${name}_zero_point`),
    };
    const from = isFloat32 ? name : this.float32(scope, name);
    const node = makeNode("DynamicQuantizeLinear", [from], [made.codes, made.scale, made.zeroPoint], {
      name: this.names.fresh(`${name}_QuantizeLinear`),
    });
    this.#behind(home, name, [node]);
    put(this.#quantized, home, name, made);
    return made;
  }

  /** Notes the codes that a node makes in place of a value. */
  know(home: Scope, made: Omit<Made, "takers">): void {
    put(this.#made, home, made.name, { ...made, takers: new Set() });
  }

  /** The codes that a value is made of, where it is. */
  madeAt(scope: Scope, name: string): Made | undefined {
    const home = scope.home(name);
    return home && this.#made.get(home)?.get(name);
  }

  /** The same for a node that takes them. */
  taken(scope: Scope, name: string, by: Node): Made | undefined {
    const made = this.madeAt(scope, name);
    made?.takers.add(by);
    return made;
  }

  /** The name of a half-precision value as float32. */
  float32(scope: Scope, name: string): string {
    const home = scope.home(name)!;
    const own = this.#floats.get(home) ?? new Map<string, string>();
    this.#floats.set(home, own);
    const there = own.get(name);
    if (there !== undefined) return there;
    const wide = this.names.fresh(`${name}_float32`);
    own.set(name, wide);
    const attributes = [intAttribute("to", codeOf("float32"))];
    this.#behind(home, name, [
      makeNode("Cast", [name], [wide], { name: this.names.fresh(`${wide}_cast`), attributes }),
    ]);
    return wide;
  }

  /** Puts nodes where a value is there, before all that take it. */
  #behind(home: Scope, name: string, nodes: readonly Node[]): void {
    const definition = home.find(name);
    if (definition?.kind === "node") this.edits.follow(definition.node, nodes);
    else this.edits.prepend(home.graph, nodes);
  }
}

function put<T>(maps: Map<Scope, Map<string, T>>, home: Scope, name: string, value: T): void {
  const own = maps.get(home);
  if (own) own.set(name, value);
  else maps.set(home, new Map([[name, value]]));
}

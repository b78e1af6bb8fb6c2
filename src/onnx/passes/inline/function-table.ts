import { isWasmQuantError } from "../../../errors.ts";
import { type FunctionBody, readFunctionBody } from "../../io/decode-functions.ts";
import { graphsOf, type Model, type ModelFunction, type Node } from "../../ir/graph.ts";
import { MICROSOFT } from "../../ir/operators.ts";
import { whyInvalid } from "./body-names.ts";

/**
 * Domains of operators that runtimes have themselves: of a function and an operator of one name ONNX Runtime takes the
 * operator, and which ones there are depends on its version.
 */
const RUNTIME_DOMAINS: ReadonlySet<string> = new Set(["", "ai.onnx.ml", MICROSOFT]);

/** A model's functions, as nodes call them. */
export class FunctionTable {
  /** Those that call themselves, by way of others or not. */
  readonly circular: ReadonlySet<ModelFunction>;
  /** All others, each behind those it calls. */
  readonly sorted: readonly ModelFunction[];
  readonly #byKey = new Map<string, ModelFunction | undefined>();
  readonly #bodies = new Map<ModelFunction, FunctionBody | undefined>();
  readonly #faults = new Map<ModelFunction, string>();
  readonly #calls = new Map<ModelFunction, ReadonlySet<ModelFunction>>();

  constructor(private readonly model: Model) {
    for (const each of model.functions) {
      if (RUNTIME_DOMAINS.has(each.domain)) continue;
      const key = keyOf(each.domain, each.name, each.overload);
      // Of two that go by one name nobody knows which is meant.
      this.#byKey.set(key, this.#byKey.has(key) ? undefined : each);
    }
    for (const each of this.#byKey.values()) if (each) this.#read(each);
    const functions = [...this.#bodies.keys()];
    for (const each of functions) this.#calls.set(each, this.#called(this.#bodies.get(each)?.nodes ?? []));
    this.circular = circlesIn(functions, this.#calls);
    const rest = functions.filter((each) => !this.circular.has(each));
    this.sorted = peeled(rest, this.#calls, this.circular);
  }

  /** The function that a node calls. */
  find(node: Node): ModelFunction | undefined {
    return this.#byKey.get(calledKey(node));
  }

  /** Functions that the model's graph may call and that are never inlined, and why. What they call is not known. */
  unclear(): ReadonlyMap<ModelFunction, string> {
    const called = new Set<string>();
    for (const { nodes } of graphsOf(this.model.graph)) for (const node of nodes) called.add(calledKey(node));
    const found = new Map<ModelFunction, string>();
    for (const each of this.model.functions) {
      const key = keyOf(each.domain, each.name, each.overload);
      if (!called.has(key)) continue;
      if (RUNTIME_DOMAINS.has(each.domain)) found.set(each, "its domain is a runtime's own");
      else if (!this.#byKey.get(key)) found.set(each, "others have its name");
    }
    return found;
  }

  /** Undefined where it is damaged. */
  bodyOf(called: ModelFunction): FunctionBody | undefined {
    return this.#bodies.get(called);
  }

  /** Why a function cannot be inlined anywhere. */
  faultOf(called: ModelFunction): string | undefined {
    return this.circular.has(called) ? "calls itself in a circle" : this.#faults.get(called);
  }

  /** The functions that a model's graph calls, and those that these call; or those that `callers` do. */
  reachable(callers?: readonly ModelFunction[]): ReadonlySet<ModelFunction> {
    const found = new Set<ModelFunction>(callers);
    const open = callers ? [...callers] : [];
    const visit = (called: Iterable<ModelFunction>) => {
      for (const each of called) {
        if (found.has(each)) continue;
        found.add(each);
        open.push(each);
      }
    };
    if (!callers) for (const { nodes } of graphsOf(this.model.graph)) visit(this.#direct(nodes));
    for (let next = open.pop(); next; next = open.pop()) visit(this.#calls.get(next) ?? []);
    return found;
  }

  #read(each: ModelFunction): void {
    try {
      const body = readFunctionBody(each);
      this.#bodies.set(each, body);
      const fault = whyInvalid(body);
      if (fault !== undefined) this.#faults.set(each, fault);
    } catch (error) {
      // What is copied as it lies may be damaged.
      if (!isWasmQuantError(error)) throw error;
      this.#bodies.set(each, undefined);
      this.#faults.set(each, "cannot be read");
    }
  }

  #called(nodes: readonly Node[]): ReadonlySet<ModelFunction> {
    const called = new Set(this.#direct(nodes));
    for (const { attributes } of nodes) {
      for (const { graphs } of attributes) {
        for (const graph of graphs) {
          for (const inner of graphsOf(graph)) for (const each of this.#direct(inner.nodes)) called.add(each);
        }
      }
    }
    return called;
  }

  #direct(nodes: readonly Node[]): ModelFunction[] {
    return nodes.flatMap((node) => this.find(node) ?? []);
  }
}

function keyOf(domain: string, name: string, overload: string): string {
  return JSON.stringify([domain, name, overload]);
}

function calledKey({ domain, opType, overload = "" }: Node): string {
  return keyOf(domain, opType, overload);
}

type Calls = ReadonlyMap<ModelFunction, ReadonlySet<ModelFunction>>;

/** What is left when those that call nothing, and those that nothing calls, are taken away again and again. */
function circlesIn(functions: readonly ModelFunction[], calls: Calls): ReadonlySet<ModelFunction> {
  const left = new Set(functions);
  for (const each of peeled(functions, calls, new Set())) left.delete(each);
  const callers = new Map<ModelFunction, Set<ModelFunction>>(Array.from(left, (each) => [each, new Set()]));
  for (const each of left) for (const called of calls.get(each)!) callers.get(called)?.add(each);
  for (const each of peeled([...left], callers, new Set())) left.delete(each);
  return left;
}

/** Functions in an order in which each stands behind all that it calls; those of which that cannot be said are left out. */
function peeled(
  functions: readonly ModelFunction[],
  calls: Calls,
  done: ReadonlySet<ModelFunction>,
): readonly ModelFunction[] {
  const waiting = new Map<ModelFunction, number>();
  const callers = new Map<ModelFunction, ModelFunction[]>();
  const order: ModelFunction[] = [];
  for (const each of functions) {
    const needed = [...calls.get(each)!].filter((called) => !done.has(called));
    waiting.set(each, needed.length);
    if (needed.length === 0) order.push(each);
    for (const called of needed) {
      const there = callers.get(called);
      if (there) there.push(each);
      else callers.set(called, [each]);
    }
  }
  for (const ready of order) {
    for (const caller of callers.get(ready) ?? []) {
      const left = waiting.get(caller)! - 1;
      waiting.set(caller, left);
      if (left === 0) order.push(caller);
    }
  }
  return order;
}

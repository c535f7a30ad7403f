/**
 * One operation of a graph: a cell around an immutable message. Reading is by name, with the
 * operator's default; every edit puts a new message into the cell, so an untouched node is written
 * as the bytes it was read from.
 *
 * Inputs and outputs are changed through the graph, which keeps its producer and consumer maps.
 */
import { assert } from "../../shared/assert.ts";
import { type AttributeInput, makeAttribute } from "./build.ts";
import { type AttributeProto, attributeType, type NodeProto, type TensorProto } from "./schema.ts";
import { capturedNames } from "./subgraph.ts";
import { malformed } from "./wire.ts";

export class Node {
  #proto: NodeProto;
  #captured: readonly string[] | undefined;

  constructor(proto: NodeProto) {
    this.#proto = proto;
  }

  /** The message as it stands. */
  get proto(): NodeProto {
    return this.#proto;
  }

  get name(): string {
    return this.#proto.name ?? "";
  }

  get opType(): string {
    return this.#proto.opType ?? "";
  }

  /** The operator set, "" for ONNX's own. */
  get domain(): string {
    return normalDomain(this.#proto.domain);
  }

  /** Names of the inputs; "" stands for an absent one. */
  get inputs(): readonly string[] {
    return this.#proto.input;
  }

  get outputs(): readonly string[] {
    return this.#proto.output;
  }

  /** Values of the graph around that the node's subgraphs read without listing them as inputs. */
  get captured(): readonly string[] {
    this.#captured ??= [
      ...new Set(this.#subgraphs().flatMap((subgraph) => capturedNames(subgraph))),
    ];
    return this.#captured;
  }

  get hasSubgraphs(): boolean {
    return this.#subgraphs().length > 0;
  }

  /** True for ONNX's own operator of this type. */
  is(opType: string): boolean {
    return this.opType === opType && this.domain === "";
  }

  /** The name at a position, "" where there is none. */
  input(index: number): string {
    return this.#proto.input[index] ?? "";
  }

  output(index: number): string {
    return this.#proto.output[index] ?? "";
  }

  attribute(name: string): AttributeProto | undefined {
    return this.#proto.attribute.find((attribute) => attribute.name === name);
  }

  has(name: string): boolean {
    return this.attribute(name) !== undefined;
  }

  /** An INT attribute; throws `onnx-malformed` when it has another type. */
  int<F extends number | undefined>(name: string, fallback: F): number | F {
    const attribute = this.#typed(name, attributeType.int);
    return attribute === undefined ? fallback : Number(attribute.i ?? 0n);
  }

  ints<F extends readonly number[] | undefined>(name: string, fallback: F): readonly number[] | F {
    const attribute = this.#typed(name, attributeType.ints);
    return attribute === undefined ? fallback : attribute.ints.map(Number);
  }

  float<F extends number | undefined>(name: string, fallback: F): number | F {
    const attribute = this.#typed(name, attributeType.float);
    return attribute === undefined ? fallback : (attribute.f ?? 0);
  }

  floats<F extends readonly number[] | undefined>(
    name: string,
    fallback: F,
  ): readonly number[] | F {
    return this.#typed(name, attributeType.floats)?.floats ?? fallback;
  }

  string<F extends string | undefined>(name: string, fallback: F): string | F {
    const attribute = this.#typed(name, attributeType.string);
    return attribute === undefined
      ? fallback
      : new TextDecoder().decode(attribute.s ?? new Uint8Array());
  }

  tensor(name: string): TensorProto | undefined {
    return this.#typed(name, attributeType.tensor)?.t;
  }

  setName(name: string): void {
    this.#proto = { ...this.#proto, name };
  }

  /** Adds or replaces an attribute. Graphs are not set this way, since captures would change. */
  setAttribute(name: string, input: AttributeInput): void {
    assert(!("graph" in input), "subgraphs are set through the graph");
    const attribute = makeAttribute(name, input);
    const others = this.#proto.attribute.filter((other) => other.name !== name);
    this.#proto = { ...this.#proto, attribute: [...others, attribute] };
  }

  removeAttribute(name: string): void {
    if (!this.has(name)) return;
    const attribute = this.#proto.attribute.filter((other) => other.name !== name);
    this.#proto = { ...this.#proto, attribute };
  }

  /** For the graph alone: puts a new message into the cell. */
  replaceProto(proto: NodeProto): void {
    this.#proto = proto;
    this.#captured = undefined;
  }

  #subgraphs() {
    return this.#proto.attribute.flatMap(({ g, graphs }) =>
      g === undefined ? graphs : [g, ...graphs],
    );
  }

  #typed(name: string, type: number): AttributeProto | undefined {
    const attribute = this.attribute(name);
    // Writers before ONNX 1.0 left the type out.
    if (attribute === undefined || (attribute.type ?? type) === type) return attribute;
    throw malformed(`attribute ${name} of ${this.opType} ${this.name} has the wrong type`);
  }
}

/** ONNX's own operator set has two names. */
export function normalDomain(domain: string | undefined): string {
  return domain === undefined || domain === "ai.onnx" ? "" : domain;
}

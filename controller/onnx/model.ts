/**
 * A model that passes edit: the graph, the operator sets it uses, and everything else of the file
 * as it was read.
 */
import { Graph } from "./graph.ts";
import { normalDomain } from "./node.ts";
import { type DecodeLimits, decodeModel, encodeModel } from "./proto.ts";
import type { ModelProto, OperatorSetProto } from "./schema.ts";
import { malformed } from "./wire.ts";

export class Model {
  #source: ModelProto;
  #graph: Graph;
  #opsets: readonly OperatorSetProto[];
  #irVersion: number;

  private constructor(proto: ModelProto) {
    if (proto.graph === undefined) throw malformed("it holds no graph");
    this.#source = proto;
    this.#graph = Graph.fromProto(proto.graph);
    this.#opsets = proto.opsetImport;
    this.#irVersion = Number(proto.irVersion ?? 0n);
  }

  get graph(): Graph {
    return this.#graph;
  }

  /** Becomes another model, for rewrites of the whole file. Nodes and graphs held so far are stale. */
  replaceWith(other: Model): void {
    this.#source = other.#source;
    this.#graph = other.#graph;
    this.#opsets = other.#opsets;
    this.#irVersion = other.#irVersion;
  }

  /** A model over a message that the checker accepted. */
  static fromProto(proto: ModelProto): Model {
    return new Model(proto);
  }

  /** Parses a file; throws what `decodeModel` throws. Does not check the graph: see `checkModel`. */
  static decode(bytes: Uint8Array, limits?: DecodeLimits): Model {
    return new Model(decodeModel(bytes, limits));
  }

  /** The message as it stands; the very message that came in when nothing was edited. */
  toProto(): ModelProto {
    const graph = this.graph.toProto();
    const source = this.#source;
    const isSame =
      graph === source.graph &&
      this.#opsets === source.opsetImport &&
      this.#irVersion === Number(source.irVersion ?? 0n);
    if (isSame) return source;
    const irVersion = BigInt(this.#irVersion);
    return { ...source, graph, opsetImport: this.#opsets, irVersion };
  }

  /** The bytes of the file. */
  encode(): Uint8Array<ArrayBuffer> {
    return encodeModel(this.toProto());
  }

  /** A model that can be edited without changing this one; tensors are shared. */
  clone(): Model {
    return new Model(this.toProto());
  }

  get irVersion(): number {
    return this.#irVersion;
  }

  setIrVersion(version: number): void {
    this.#irVersion = version;
  }

  /** The version of ONNX's own operator set; 0 when the model does not import it. */
  get opset(): number {
    return this.opsetOf("") ?? 0;
  }

  /** The version of an operator set, undefined when it is not imported. */
  opsetOf(domain: string): number | undefined {
    const found = this.#opsets.find((opset) => normalDomain(opset.domain) === domain);
    return found === undefined ? undefined : Number(found.version ?? 0n);
  }

  /** Imports an operator set in the given version. */
  setOpset(domain: string, version: number): void {
    if (this.opsetOf(domain) === version) return;
    const others = this.#opsets.filter((opset) => normalDomain(opset.domain) !== domain);
    const isFirst = normalDomain(this.#opsets[0]?.domain) === domain;
    const changed = { domain, version: BigInt(version) };
    this.#opsets = isFirst ? [changed, ...others] : [...others, changed];
  }

  /** Domains whose operator sets are imported. */
  get domains(): string[] {
    return this.#opsets.map((opset) => normalDomain(opset.domain));
  }

  /** True when the model defines operators of its own or carries a training part. */
  get hasFunctions(): boolean {
    return this.#source.functions.length > 0;
  }
}

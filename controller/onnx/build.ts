/**
 * Makes ONNX messages from plain values, for passes, training graphs and tests that build models.
 *
 * Attributes name their type (`{ float: 1 }`), because a whole number says nothing of whether the
 * operator wants INT or FLOAT.
 */
import { type DataType, dataTypes } from "./data-type.ts";
import {
  type AttributeProto,
  attributeType,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from "./schema.ts";

export type AttributeInput =
  | { readonly int: number | bigint }
  | { readonly ints: readonly (number | bigint)[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly tensor: TensorProto }
  | { readonly graph: GraphProto };

export type AttributeInputs = Readonly<Record<string, AttributeInput>>;

/** A dim is a length, a name for an unknown length, or null for an unknown one without a name. */
export type DimInput = number | string | null;

export interface NodeInput {
  readonly opType: string;
  /** An empty name is an absent optional input. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: AttributeInputs;
  /** Attributes taken over from another node. */
  readonly copiedAttributes?: readonly AttributeProto[];
  readonly name?: string;
  readonly domain?: string;
}

export interface GraphInput {
  readonly name?: string;
  readonly nodes: readonly NodeProto[];
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  readonly initializers?: readonly TensorProto[];
  readonly valueInfo?: readonly ValueInfoProto[];
}

export interface ModelInput {
  readonly graph: GraphProto;
  /** Version of the default operator set. */
  readonly opset: number;
  /** Versions of further operator sets, by domain. */
  readonly domains?: Readonly<Record<string, number>>;
  readonly irVersion?: number;
  readonly producerName?: string;
}

/** An attribute of the type that `input` names. */
export function makeAttribute(name: string, input: AttributeInput): AttributeProto {
  const base = emptyAttribute(name);
  if ("int" in input) return { ...base, type: attributeType.int, i: BigInt(input.int) };
  if ("ints" in input) {
    return { ...base, type: attributeType.ints, ints: input.ints.map(BigInt) };
  }
  if ("float" in input) return { ...base, type: attributeType.float, f: Math.fround(input.float) };
  if ("floats" in input) {
    return { ...base, type: attributeType.floats, floats: input.floats.map(Math.fround) };
  }
  if ("string" in input) {
    return { ...base, type: attributeType.string, s: new TextEncoder().encode(input.string) };
  }
  if ("strings" in input) {
    const strings = input.strings.map((text) => new TextEncoder().encode(text));
    return { ...base, type: attributeType.strings, strings };
  }
  if ("tensor" in input) return { ...base, type: attributeType.tensor, t: input.tensor };
  return { ...base, type: attributeType.graph, g: input.graph };
}

export function makeNode(input: NodeInput): NodeProto {
  return {
    input: [...input.inputs],
    output: [...input.outputs],
    opType: input.opType,
    ...(input.name === undefined ? {} : { name: input.name }),
    ...(input.domain === undefined || input.domain === "" ? {} : { domain: input.domain }),
    attribute: [
      ...(input.copiedAttributes ?? []),
      ...Object.entries(input.attributes ?? {}).map(([name, value]) => makeAttribute(name, value)),
    ],
    metadataProps: [],
    deviceConfigurations: [],
  };
}

/** Name, element type and shape of a value; without a shape even the rank is unknown. */
export function makeValueInfo(
  name: string,
  type: DataType,
  shape?: readonly DimInput[],
): ValueInfoProto {
  const dims = shape?.map((dim) => {
    if (dim === null) return {};
    return typeof dim === "number" ? { dimValue: BigInt(dim) } : { dimParam: dim };
  });
  const elemType = dataTypes[type].code;
  return {
    name,
    type: { tensorType: dims === undefined ? { elemType } : { elemType, shape: { dim: dims } } },
    metadataProps: [],
  };
}

export function makeGraph(input: GraphInput): GraphProto {
  return {
    node: [...input.nodes],
    name: input.name ?? "main",
    initializer: [...(input.initializers ?? [])],
    sparseInitializer: [],
    input: [...input.inputs],
    output: [...input.outputs],
    valueInfo: [...(input.valueInfo ?? [])],
    quantizationAnnotation: [],
    metadataProps: [],
  };
}

export function makeModel(input: ModelInput): ModelProto {
  const domains = Object.entries(input.domains ?? {});
  return {
    irVersion: BigInt(input.irVersion ?? irVersionOfOpset(input.opset)),
    opsetImport: [
      { domain: "", version: BigInt(input.opset) },
      ...domains.map(([domain, version]) => ({ domain, version: BigInt(version) })),
    ],
    producerName: input.producerName ?? "fleetfit",
    graph: input.graph,
    metadataProps: [],
    trainingInfo: [],
    functions: [],
    configuration: [],
  };
}

/**
 * The oldest file format that may hold an operator set, but not below 8: older ones want every
 * initializer as an input or change little else. Source: ONNX, docs/Versioning.md.
 */
export function irVersionOfOpset(opset: number): number {
  if (opset <= 18) return 8;
  if (opset <= 20) return 9;
  if (opset <= 22) return 10;
  return opset <= 23 ? 11 : opset === 24 ? 12 : 13;
}

function emptyAttribute(name: string): AttributeProto {
  return {
    name,
    floats: [],
    ints: [],
    strings: [],
    tensors: [],
    graphs: [],
    sparseTensors: [],
    typeProtos: [],
  };
}

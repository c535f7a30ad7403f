/**
 * A model as text for people: one line per initializer and node, small constants in full.
 * The text is for reading, not for parsing back.
 */
import { dataTypeOfCode } from "./data-type.ts";
import type {
  AttributeProto,
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  TypeProto,
  ValueInfoProto,
} from "./schema.ts";
import { tensorElements, tensorNumbers } from "./tensor.ts";

/** Longer constants are shown by type and shape alone. */
const shownElementsMax = 8;

export function printModel(model: ModelProto): string {
  const opsets = model.opsetImport.map(({ domain, version }) => `${domain || "onnx"} ${version}`);
  const producer = [model.producerName, model.producerVersion].filter(Boolean).join(" ");
  const head = `model ir ${model.irVersion ?? "?"}, operator sets: ${opsets.join(", ")}, by ${producer || "?"}`;
  return [head, ...(model.graph === undefined ? [] : graphLines(model.graph, ""))].join("\n");
}

function graphLines(graph: GraphProto, indent: string): string[] {
  const inner = `${indent}  `;
  return [
    `${indent}graph ${graph.name ?? ""}(${values(graph.input)}) -> (${values(graph.output)}) {`,
    ...graph.initializer.map((tensor) => `${inner}${tensor.name ?? ""}: ${tensorText(tensor)}`),
    ...graph.node.flatMap((node) => nodeLines(node, inner)),
    `${indent}}`,
  ];
}

function nodeLines(node: NodeProto, indent: string): string[] {
  const attributes = node.attribute
    .filter(({ g, graphs }) => g === undefined && graphs.length === 0)
    .map((attribute) => `${attribute.name}=${attributeText(attribute)}`);
  const operator = node.domain ? `${node.domain}.${node.opType}` : (node.opType ?? "?");
  const braces = attributes.length === 0 ? "" : ` {${attributes.join(", ")}}`;
  const name = node.name ? `  # ${node.name}` : "";
  const subgraphs = node.attribute.flatMap((attribute) =>
    [...(attribute.g === undefined ? [] : [attribute.g]), ...attribute.graphs].flatMap((graph) => [
      `${indent}  ${attribute.name}:`,
      ...graphLines(graph, `${indent}  `),
    ]),
  );
  const inputs = node.input.map((input) => input || "-").join(", ");
  return [
    `${indent}${node.output.join(", ")} = ${operator}(${inputs})${braces}${name}`,
    ...subgraphs,
  ];
}

function attributeText(attribute: AttributeProto): string {
  const text = (bytes: Uint8Array): string => JSON.stringify(new TextDecoder().decode(bytes));
  if (attribute.refAttrName) return `@${attribute.refAttrName}`;
  if (attribute.f !== undefined) return floatText(attribute.f);
  if (attribute.i !== undefined) return String(attribute.i);
  if (attribute.s !== undefined) return text(attribute.s);
  if (attribute.t !== undefined) return tensorText(attribute.t);
  if (attribute.tp !== undefined) return typeText(attribute.tp);
  if (attribute.floats.length > 0) return `[${attribute.floats.map(floatText).join(", ")}]`;
  if (attribute.strings.length > 0) return `[${attribute.strings.map(text).join(", ")}]`;
  return `[${attribute.ints.join(", ")}]`;
}

/** A FLOAT with a whole value keeps a point, so that it is not read as an INT. */
function floatText(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(Number(value.toPrecision(7)));
}

function tensorText(tensor: TensorProto): string {
  const type = dataTypeOfCode(tensor.dataType ?? 0);
  const head = `${type ?? `type ${tensor.dataType}`}[${tensor.dims.join(",")}]`;
  const isShown = type !== undefined && tensorElements(tensor) <= shownElementsMax;
  if (!isShown || tensor.dataLocation === 1) return head;
  return `${head} = ${tensorNumbers(tensor).join(" ")}`;
}

function values(infos: readonly ValueInfoProto[]): string {
  return infos.map(({ name, type }) => `${name}: ${typeText(type)}`).join(", ");
}

function typeText(type: TypeProto | undefined): string {
  const tensor = type?.tensorType ?? type?.sparseTensorType;
  if (tensor === undefined) return type?.sequenceType ? "sequence" : type?.mapType ? "map" : "?";
  const name = dataTypeOfCode(tensor.elemType ?? 0) ?? `type ${tensor.elemType}`;
  if (tensor.shape === undefined) return name;
  const dims = tensor.shape.dim.map(({ dimValue, dimParam }) => dimValue ?? (dimParam || "?"));
  return `${name}[${dims.join(",")}]`;
}

/**
 * Models whose tensors lie in files beside them become one file. Exporters do this above 2 GB, where
 * protobuf ends, and some of them always.
 *
 * A tensor with data_location EXTERNAL names a file relative to the model's folder, an offset and a
 * length (ONNX, docs/ExternalData.md). All three come from the file and are hostile: the path must stay
 * in the folder, the length must be what the tensor's dims declare, and the sum of all lengths is
 * bounded before anything is read. Reading is the caller's, who knows folders.
 *
 * Invariant: what keeps no data elsewhere keeps its bytes.
 */
import { FleetError } from "../../shared/errors.ts";
import { dataTypes } from "./data-type.ts";
import { defaultDecodeLimits } from "./proto.ts";
import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  SparseTensorProto,
  TensorProto,
} from "./schema.ts";
import { isExternal, tensorType } from "./tensor.ts";
import { declaredElements } from "./tensor-size.ts";
import { malformed } from "./wire.ts";

/** A part of a file in the model's folder. */
export interface ExternalRange {
  /** Path below the folder, with `/`; it leads to no other place. */
  readonly location: string;
  readonly offset: number;
  readonly byteCount: number;
}

/** Yields exactly the bytes of the range, or throws. */
export type ReadRange = (range: ExternalRange) => Uint8Array;

/** True when some tensor keeps its data in another file. */
export function hasExternalData(model: ModelProto): boolean {
  let found = false;
  mapModel(model, (tensor) => {
    found ||= isExternal(tensor);
    return tensor;
  });
  return found;
}

/**
 * The model with all data in itself. Throws `onnx-malformed` for a path, offset or length that cannot
 * be right, `onnx-too-large` when it would not fit into one file, `onnx-unsupported` for text, and what
 * `read` throws.
 */
export function embedExternalData(
  model: ModelProto,
  read: ReadRange,
  bytesMax: number = defaultDecodeLimits.fileBytesMax,
): ModelProto {
  let bytes = 0;
  mapModel(model, (tensor) => {
    if (isExternal(tensor)) bytes += externalRange(tensor).byteCount;
    return tensor;
  });
  if (bytes > bytesMax) {
    throw new FleetError(
      "onnx-too-large",
      `the model keeps ${bytes} bytes in other files, ${bytesMax} fit into one: use a smaller model`,
      { details: { bytes: String(bytes) } },
    );
  }
  return mapModel(model, (tensor) => (isExternal(tensor) ? embed(tensor, read) : tensor));
}

function embed(tensor: TensorProto, read: ReadRange): TensorProto {
  const { dataLocation: _elsewhere, ...rest } = tensor;
  const rawData = read(externalRange(tensor));
  return { ...rest, rawData, externalData: [] };
}

function externalRange(tensor: TensorProto): ExternalRange {
  const label = `tensor ${tensor.name ?? ""}`;
  const { bits } = dataTypes[tensorType(tensor)];
  const declared = (declaredElements(tensor) * BigInt(bits) + 7n) / 8n;
  const byteCount = entryNumber(tensor, "length") ?? Number(declared);
  if (BigInt(byteCount) !== declared) {
    throw malformed(`${label} of shape [${tensor.dims}] names ${byteCount} bytes of another file`);
  }
  const offset = entryNumber(tensor, "offset") ?? 0;
  return { location: locationOf(tensor, label), offset, byteCount };
}

function entry(tensor: TensorProto, key: string): string | undefined {
  return tensor.externalData.find((pair) => pair.key === key)?.value;
}

function entryNumber(tensor: TensorProto, key: string): number | undefined {
  const text = entry(tensor, key);
  if (text === undefined) return undefined;
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number)) return number;
  throw malformed(`tensor ${tensor.name ?? ""} has the ${key} "${text.slice(0, 40)}"`);
}

/** ONNX, docs/ExternalData.md: relative, POSIX, without "..". */
function locationOf(tensor: TensorProto, label: string): string {
  const location = entry(tensor, "location") ?? "";
  const parts = location.split("/").filter((part) => part !== ".");
  const isInside =
    !/[\0\\]/.test(location) && parts.length > 0 && !parts.includes("..") && !parts.includes("");
  if (isInside) return parts.join("/");
  throw malformed(
    `${label} keeps its data in "${location.slice(0, 200)}", which is no file in the model's folder`,
  );
}

// ── walking over every tensor; what does not change keeps its object, and so its bytes ──────────────

type MapTensor = (tensor: TensorProto) => TensorProto;

function mapModel(model: ModelProto, map: MapTensor): ModelProto {
  const graph = model.graph === undefined ? undefined : mapGraph(model.graph, map);
  const functions = mapList(model.functions, (each) => mapFunction(each, map));
  if (graph === model.graph && functions === model.functions) return model;
  return { ...model, ...(graph === undefined ? {} : { graph }), functions };
}

function mapFunction(each: FunctionProto, map: MapTensor): FunctionProto {
  const node = mapList(each.node, (inner) => mapNode(inner, map));
  return node === each.node ? each : { ...each, node };
}

function mapGraph(graph: GraphProto, map: MapTensor): GraphProto {
  const node = mapList(graph.node, (each) => mapNode(each, map));
  const initializer = mapList(graph.initializer, map);
  const sparseInitializer = mapList(graph.sparseInitializer, (each) => mapSparse(each, map));
  const isSame =
    node === graph.node &&
    initializer === graph.initializer &&
    sparseInitializer === graph.sparseInitializer;
  return isSame ? graph : { ...graph, node, initializer, sparseInitializer };
}

function mapNode(node: NodeProto, map: MapTensor): NodeProto {
  const attribute = mapList(node.attribute, (each) => mapAttribute(each, map));
  return attribute === node.attribute ? node : { ...node, attribute };
}

function mapAttribute(attribute: AttributeProto, map: MapTensor): AttributeProto {
  const { t, g, sparseTensor, tensors, graphs, sparseTensors } = attribute;
  const mapped = {
    ...(t === undefined ? {} : { t: map(t) }),
    ...(g === undefined ? {} : { g: mapGraph(g, map) }),
    ...(sparseTensor === undefined ? {} : { sparseTensor: mapSparse(sparseTensor, map) }),
    tensors: mapList(tensors, map),
    graphs: mapList(graphs, (each) => mapGraph(each, map)),
    sparseTensors: mapList(sparseTensors, (each) => mapSparse(each, map)),
  };
  const keys = Object.keys(mapped) as (keyof typeof mapped)[];
  return keys.every((key) => mapped[key] === attribute[key])
    ? attribute
    : { ...attribute, ...mapped };
}

function mapSparse(sparse: SparseTensorProto, map: MapTensor): SparseTensorProto {
  const { values, indices } = sparse;
  const mapped = {
    ...(values === undefined ? {} : { values: map(values) }),
    ...(indices === undefined ? {} : { indices: map(indices) }),
  };
  const isSame = mapped.values === values && mapped.indices === indices;
  return isSame ? sparse : { ...sparse, ...mapped };
}

function mapList<T>(list: readonly T[], map: (item: T) => T): readonly T[] {
  const mapped = list.map(map);
  return mapped.every((item, at) => item === list[at]) ? list : mapped;
}

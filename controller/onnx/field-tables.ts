/**
 * The fields of every message as tables that the codec walks: the number of a field in the file, its
 * kind, and whether it repeats.
 *
 * Invariant: each table lists exactly the fields of its type, which the compiler checks.
 * Source: github.com/onnx/onnx, onnx/onnx.proto, v1.20.
 */
import type {
  AttributeProto,
  DeviceConfigurationProto,
  DimensionProto,
  ElementTypeProto,
  FunctionProto,
  GraphProto,
  IntListEntryProto,
  MapTypeProto,
  Message,
  ModelProto,
  NodeDeviceProto,
  NodeProto,
  OperatorSetProto,
  SegmentProto,
  ShardedDimProto,
  ShardingSpecProto,
  SimpleShardedDimProto,
  SparseTensorProto,
  StringEntryProto,
  TensorAnnotationProto,
  TensorProto,
  TensorShapeProto,
  TensorTypeProto,
  TrainingInfoProto,
  TypeProto,
  ValueInfoProto,
} from "./schema.ts";

export type ScalarKind = "int32" | "int64" | "uint64" | "float" | "double" | "string" | "bytes";

export interface FieldSpec {
  readonly number: number;
  readonly kind: ScalarKind | "message";
  readonly repeated: boolean;
  /** Repeated numbers that are held in one typed array. */
  readonly bulk: boolean;
  /** Repeated numbers that are written in one range. */
  readonly packed: boolean;
  readonly schema?: () => MessageSchema;
}

export interface Field extends FieldSpec {
  readonly key: string;
}

export interface MessageSchema {
  readonly name: string;
  /** Rising by number, the order in which they are written. */
  readonly fields: readonly Field[];
  readonly byNumber: readonly (Field | undefined)[];
  /** Keys of the lists that every message has, empty or not. */
  readonly listKeys: readonly string[];
}

const one = (number: number, kind: ScalarKind): FieldSpec => ({
  number,
  kind,
  repeated: false,
  bulk: false,
  packed: false,
});
const many = (number: number, kind: ScalarKind): FieldSpec => ({
  ...one(number, kind),
  repeated: true,
});
const bulk = (number: number, kind: ScalarKind): FieldSpec => ({
  ...many(number, kind),
  bulk: true,
  packed: true,
});
const oneOf = (number: number, schema: () => MessageSchema): FieldSpec => ({
  number,
  kind: "message",
  repeated: false,
  bulk: false,
  packed: false,
  schema,
});
const manyOf = (number: number, schema: () => MessageSchema): FieldSpec => ({
  ...oneOf(number, schema),
  repeated: true,
});

/** The table of a message type; a field that the type lacks, or the reverse, does not compile. */
function table<T extends Message>(
  name: string,
  specs: { readonly [K in Exclude<keyof T, "unknownFields">]-?: FieldSpec },
): MessageSchema {
  const fields = Object.entries<FieldSpec>(specs)
    .map(([key, spec]) => ({ ...spec, key }))
    .sort((left, right) => left.number - right.number);
  const byNumber: (Field | undefined)[] = new Array(fields.at(-1)!.number + 1).fill(undefined);
  for (const field of fields) byNumber[field.number] = field;
  const lists = fields.filter((field) => field.repeated && !field.bulk);
  return { name, fields, byNumber, listKeys: lists.map((field) => field.key) };
}

const stringEntry = table<StringEntryProto>("StringStringEntryProto", {
  key: one(1, "string"),
  value: one(2, "string"),
});

const segment = table<SegmentProto>("TensorProto.Segment", {
  begin: one(1, "int64"),
  end: one(2, "int64"),
});

export const tensorSchema = table<TensorProto>("TensorProto", {
  dims: many(1, "int64"),
  dataType: one(2, "int32"),
  segment: oneOf(3, () => segment),
  floatData: bulk(4, "float"),
  int32Data: bulk(5, "int32"),
  stringData: many(6, "bytes"),
  int64Data: bulk(7, "int64"),
  name: one(8, "string"),
  rawData: one(9, "bytes"),
  doubleData: bulk(10, "double"),
  uint64Data: bulk(11, "uint64"),
  docString: one(12, "string"),
  externalData: manyOf(13, () => stringEntry),
  dataLocation: one(14, "int32"),
  metadataProps: manyOf(16, () => stringEntry),
});

const sparseTensor = table<SparseTensorProto>("SparseTensorProto", {
  values: oneOf(1, () => tensorSchema),
  indices: oneOf(2, () => tensorSchema),
  dims: many(3, "int64"),
});

const dimension = table<DimensionProto>("TensorShapeProto.Dimension", {
  dimValue: one(1, "int64"),
  dimParam: one(2, "string"),
  denotation: one(3, "string"),
});

const tensorShape = table<TensorShapeProto>("TensorShapeProto", {
  dim: manyOf(1, () => dimension),
});

const tensorType = table<TensorTypeProto>("TypeProto.Tensor", {
  elemType: one(1, "int32"),
  shape: oneOf(2, () => tensorShape),
});

const elementType = table<ElementTypeProto>("TypeProto.Sequence", {
  elemType: oneOf(1, () => type),
});

const mapType = table<MapTypeProto>("TypeProto.Map", {
  keyType: one(1, "int32"),
  valueType: oneOf(2, () => type),
});

const type: MessageSchema = table<TypeProto>("TypeProto", {
  tensorType: oneOf(1, () => tensorType),
  sequenceType: oneOf(4, () => elementType),
  mapType: oneOf(5, () => mapType),
  denotation: one(6, "string"),
  sparseTensorType: oneOf(8, () => tensorType),
  optionalType: oneOf(9, () => elementType),
});

const valueInfo = table<ValueInfoProto>("ValueInfoProto", {
  name: one(1, "string"),
  type: oneOf(2, () => type),
  docString: one(3, "string"),
  metadataProps: manyOf(4, () => stringEntry),
});

const attribute = table<AttributeProto>("AttributeProto", {
  name: one(1, "string"),
  f: one(2, "float"),
  i: one(3, "int64"),
  s: one(4, "bytes"),
  t: oneOf(5, () => tensorSchema),
  g: oneOf(6, () => graph),
  floats: many(7, "float"),
  ints: many(8, "int64"),
  strings: many(9, "bytes"),
  tensors: manyOf(10, () => tensorSchema),
  graphs: manyOf(11, () => graph),
  docString: one(13, "string"),
  tp: oneOf(14, () => type),
  typeProtos: manyOf(15, () => type),
  type: one(20, "int32"),
  refAttrName: one(21, "string"),
  sparseTensor: oneOf(22, () => sparseTensor),
  sparseTensors: manyOf(23, () => sparseTensor),
});

const intListEntry = table<IntListEntryProto>("IntIntListEntryProto", {
  key: one(1, "int64"),
  value: many(2, "int64"),
});

const simpleShardedDim = table<SimpleShardedDimProto>("SimpleShardedDimProto", {
  dimValue: one(1, "int64"),
  dimParam: one(2, "string"),
  numShards: one(3, "int64"),
});

const shardedDim = table<ShardedDimProto>("ShardedDimProto", {
  axis: one(1, "int64"),
  simpleSharding: manyOf(2, () => simpleShardedDim),
});

const shardingSpec = table<ShardingSpecProto>("ShardingSpecProto", {
  tensorName: one(1, "string"),
  device: many(2, "int64"),
  indexToDeviceGroupMap: manyOf(3, () => intListEntry),
  shardedDim: manyOf(4, () => shardedDim),
});

const nodeDevice = table<NodeDeviceProto>("NodeDeviceConfigurationProto", {
  configurationId: one(1, "string"),
  shardingSpec: manyOf(2, () => shardingSpec),
  pipelineStage: one(3, "int32"),
});

const node = table<NodeProto>("NodeProto", {
  input: many(1, "string"),
  output: many(2, "string"),
  name: one(3, "string"),
  opType: one(4, "string"),
  attribute: manyOf(5, () => attribute),
  docString: one(6, "string"),
  domain: one(7, "string"),
  overload: one(8, "string"),
  metadataProps: manyOf(9, () => stringEntry),
  deviceConfigurations: manyOf(10, () => nodeDevice),
});

const tensorAnnotation = table<TensorAnnotationProto>("TensorAnnotation", {
  tensorName: one(1, "string"),
  quantParameterTensorNames: manyOf(2, () => stringEntry),
});

const graph: MessageSchema = table<GraphProto>("GraphProto", {
  node: manyOf(1, () => node),
  name: one(2, "string"),
  initializer: manyOf(5, () => tensorSchema),
  docString: one(10, "string"),
  input: manyOf(11, () => valueInfo),
  output: manyOf(12, () => valueInfo),
  valueInfo: manyOf(13, () => valueInfo),
  quantizationAnnotation: manyOf(14, () => tensorAnnotation),
  sparseInitializer: manyOf(15, () => sparseTensor),
  metadataProps: manyOf(16, () => stringEntry),
});

const operatorSet = table<OperatorSetProto>("OperatorSetIdProto", {
  domain: one(1, "string"),
  version: one(2, "int64"),
});

const functionSchema = table<FunctionProto>("FunctionProto", {
  name: one(1, "string"),
  input: many(4, "string"),
  output: many(5, "string"),
  attribute: many(6, "string"),
  node: manyOf(7, () => node),
  docString: one(8, "string"),
  opsetImport: manyOf(9, () => operatorSet),
  domain: one(10, "string"),
  attributeProto: manyOf(11, () => attribute),
  valueInfo: manyOf(12, () => valueInfo),
  overload: one(13, "string"),
  metadataProps: manyOf(14, () => stringEntry),
});

const trainingInfo = table<TrainingInfoProto>("TrainingInfoProto", {
  initialization: oneOf(1, () => graph),
  algorithm: oneOf(2, () => graph),
  initializationBinding: manyOf(3, () => stringEntry),
  updateBinding: manyOf(4, () => stringEntry),
});

const deviceConfiguration = table<DeviceConfigurationProto>("DeviceConfigurationProto", {
  name: one(1, "string"),
  numDevices: one(2, "int32"),
  device: many(3, "string"),
});

export const modelSchema = table<ModelProto>("ModelProto", {
  irVersion: one(1, "int64"),
  producerName: one(2, "string"),
  producerVersion: one(3, "string"),
  domain: one(4, "string"),
  modelVersion: one(5, "int64"),
  docString: one(6, "string"),
  graph: oneOf(7, () => graph),
  opsetImport: manyOf(8, () => operatorSet),
  metadataProps: manyOf(14, () => stringEntry),
  trainingInfo: manyOf(20, () => trainingInfo),
  functions: manyOf(25, () => functionSchema),
  configuration: manyOf(26, () => deviceConfiguration),
});

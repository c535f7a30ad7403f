/**
 * The messages of onnx.proto (ONNX 1.20) as types and as tables that the codec walks. One table row
 * per field: its number, its kind, and whether it repeats.
 *
 * Invariants: messages are read-only values. An edit makes a new object (`{ ...node, name }`), which
 * is how the codec knows what was changed; so nobody writes into a message, its arrays or its data.
 * Every interface lists exactly the fields of its table, which the compiler checks.
 * Source: github.com/onnx/onnx, onnx/onnx.proto, v1.20.
 */

/** A field that the table does not know, kept with its tag as the bytes that were read. */
export interface UnknownField {
  readonly number: number;
  readonly bytes: Uint8Array;
}

export interface Message {
  readonly unknownFields?: readonly UnknownField[];
}

export interface StringEntryProto extends Message {
  readonly key?: string;
  readonly value?: string;
}

export interface SegmentProto extends Message {
  readonly begin?: bigint;
  readonly end?: bigint;
}

export interface TensorProto extends Message {
  readonly dims: readonly bigint[];
  readonly dataType?: number;
  readonly segment?: SegmentProto;
  readonly floatData?: Float32Array;
  readonly int32Data?: Int32Array;
  readonly stringData: readonly Uint8Array[];
  readonly int64Data?: BigInt64Array;
  readonly name?: string;
  readonly docString?: string;
  readonly rawData?: Uint8Array;
  readonly externalData: readonly StringEntryProto[];
  /** 1 means that the data are in another file. */
  readonly dataLocation?: number;
  readonly doubleData?: Float64Array;
  readonly uint64Data?: BigUint64Array;
  readonly metadataProps: readonly StringEntryProto[];
}

export interface SparseTensorProto extends Message {
  readonly values?: TensorProto;
  readonly indices?: TensorProto;
  readonly dims: readonly bigint[];
}

export interface DimensionProto extends Message {
  readonly dimValue?: bigint;
  readonly dimParam?: string;
  readonly denotation?: string;
}

export interface TensorShapeProto extends Message {
  readonly dim: readonly DimensionProto[];
}

export interface TensorTypeProto extends Message {
  readonly elemType?: number;
  readonly shape?: TensorShapeProto;
}

/** Types of sequences and optionals. */
export interface ElementTypeProto extends Message {
  readonly elemType?: TypeProto;
}

export interface MapTypeProto extends Message {
  readonly keyType?: number;
  readonly valueType?: TypeProto;
}

/** One of the five types is set. */
export interface TypeProto extends Message {
  readonly tensorType?: TensorTypeProto;
  readonly sequenceType?: ElementTypeProto;
  readonly mapType?: MapTypeProto;
  readonly optionalType?: ElementTypeProto;
  readonly sparseTensorType?: TensorTypeProto;
  readonly denotation?: string;
}

export interface ValueInfoProto extends Message {
  readonly name?: string;
  readonly type?: TypeProto;
  readonly docString?: string;
  readonly metadataProps: readonly StringEntryProto[];
}

export interface AttributeProto extends Message {
  readonly name?: string;
  readonly refAttrName?: string;
  readonly docString?: string;
  /** A value of `attributeType`. */
  readonly type?: number;
  readonly f?: number;
  readonly i?: bigint;
  readonly s?: Uint8Array;
  readonly t?: TensorProto;
  readonly g?: GraphProto;
  readonly sparseTensor?: SparseTensorProto;
  readonly tp?: TypeProto;
  readonly floats: readonly number[];
  readonly ints: readonly bigint[];
  readonly strings: readonly Uint8Array[];
  readonly tensors: readonly TensorProto[];
  readonly graphs: readonly GraphProto[];
  readonly sparseTensors: readonly SparseTensorProto[];
  readonly typeProtos: readonly TypeProto[];
}

export interface IntListEntryProto extends Message {
  readonly key?: bigint;
  readonly value: readonly bigint[];
}

export interface SimpleShardedDimProto extends Message {
  readonly dimValue?: bigint;
  readonly dimParam?: string;
  readonly numShards?: bigint;
}

export interface ShardedDimProto extends Message {
  readonly axis?: bigint;
  readonly simpleSharding: readonly SimpleShardedDimProto[];
}

export interface ShardingSpecProto extends Message {
  readonly tensorName?: string;
  readonly device: readonly bigint[];
  readonly indexToDeviceGroupMap: readonly IntListEntryProto[];
  readonly shardedDim: readonly ShardedDimProto[];
}

export interface NodeDeviceProto extends Message {
  readonly configurationId?: string;
  readonly shardingSpec: readonly ShardingSpecProto[];
  readonly pipelineStage?: number;
}

export interface NodeProto extends Message {
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly name?: string;
  readonly opType?: string;
  readonly domain?: string;
  readonly overload?: string;
  readonly attribute: readonly AttributeProto[];
  readonly docString?: string;
  readonly metadataProps: readonly StringEntryProto[];
  readonly deviceConfigurations: readonly NodeDeviceProto[];
}

export interface TensorAnnotationProto extends Message {
  readonly tensorName?: string;
  readonly quantParameterTensorNames: readonly StringEntryProto[];
}

export interface GraphProto extends Message {
  readonly node: readonly NodeProto[];
  readonly name?: string;
  readonly initializer: readonly TensorProto[];
  readonly sparseInitializer: readonly SparseTensorProto[];
  readonly docString?: string;
  readonly input: readonly ValueInfoProto[];
  readonly output: readonly ValueInfoProto[];
  readonly valueInfo: readonly ValueInfoProto[];
  readonly quantizationAnnotation: readonly TensorAnnotationProto[];
  readonly metadataProps: readonly StringEntryProto[];
}

export interface OperatorSetProto extends Message {
  readonly domain?: string;
  readonly version?: bigint;
}

export interface FunctionProto extends Message {
  readonly name?: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly string[];
  readonly attributeProto: readonly AttributeProto[];
  readonly node: readonly NodeProto[];
  readonly docString?: string;
  readonly opsetImport: readonly OperatorSetProto[];
  readonly domain?: string;
  readonly overload?: string;
  readonly valueInfo: readonly ValueInfoProto[];
  readonly metadataProps: readonly StringEntryProto[];
}

export interface TrainingInfoProto extends Message {
  readonly initialization?: GraphProto;
  readonly algorithm?: GraphProto;
  readonly initializationBinding: readonly StringEntryProto[];
  readonly updateBinding: readonly StringEntryProto[];
}

export interface DeviceConfigurationProto extends Message {
  readonly name?: string;
  readonly numDevices?: number;
  readonly device: readonly string[];
}

export interface ModelProto extends Message {
  readonly irVersion?: bigint;
  readonly opsetImport: readonly OperatorSetProto[];
  readonly producerName?: string;
  readonly producerVersion?: string;
  readonly domain?: string;
  readonly modelVersion?: bigint;
  readonly docString?: string;
  readonly graph?: GraphProto;
  readonly metadataProps: readonly StringEntryProto[];
  readonly trainingInfo: readonly TrainingInfoProto[];
  readonly functions: readonly FunctionProto[];
  readonly configuration: readonly DeviceConfigurationProto[];
}

/** AttributeProto.AttributeType. */
export const attributeType = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
  tensors: 9,
  graphs: 10,
  sparseTensor: 11,
  sparseTensors: 12,
  typeProto: 13,
  typeProtos: 14,
} as const;

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
  return { name, fields, byNumber };
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

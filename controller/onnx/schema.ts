/**
 * The messages of onnx.proto (ONNX 1.20) as types.
 *
 * Invariants: messages are read-only values. An edit makes a new object (`{ ...node, name }`), which
 * is how the codec knows what was changed; so nobody writes into a message, its arrays or its data.
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

/**
 * Reads and writes ONNX files without loss. Every decoded message remembers, out of sight, the bytes
 * it was read from; an edit makes a new object and a new object has no such memory. Writing
 * therefore copies the old bytes of everything that was not replaced and encodes only the rest.
 *
 * Invariants: `encodeModel(decodeModel(bytes))` are the same bytes, whatever order or spelling the
 * writer used; fields that the schema does not know stay, in the order of their numbers; large data
 * are views of the file's bytes, so the file's bytes must not change while the model is in use.
 * Rejected: a dirty flag per message, which every edit would have to set and one would forget.
 */
import { FleetError } from "../../shared/errors.ts";
import { type Field, type MessageSchema, modelSchema, tensorSchema } from "./field-tables.ts";
import type { ModelProto, TensorProto, UnknownField } from "./schema.ts";
import { checkDeclaredSize } from "./tensor-size.ts";
import { int64Bytes, malformed, varintBytes, WireReader, WireWriter, wireType } from "./wire.ts";

export interface DecodeLimits {
  /** Length of the file. */
  readonly fileBytesMax: number;
  /** Size that one tensor declares, stored or not. */
  readonly tensorBytesMax: number;
  /** Messages within messages; a graph inside a node costs three. */
  readonly depthMax: number;
  /** Messages, strings and small numbers of the whole file: bounds the memory of many tiny parts. */
  readonly partsMax: number;
}

/**
 * Protobuf itself ends at 2 GiB - 1 and at depth 100 (protobuf.dev, "Proto Limits"). A real network of
 * 1,001 nodes has about 30,000 parts, so four million leave room for any of them.
 */
export const defaultDecodeLimits: DecodeLimits = {
  fileBytesMax: 2 ** 31 - 1,
  tensorBytesMax: 2 ** 31 - 1,
  depthMax: 100,
  partsMax: 4_000_000,
};

interface Source {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

type Values = Record<string, unknown>;

/** A decoded message. Where it lies in the file is private, so spreading a message drops it. */
class Decoded {
  readonly #source: Source;

  constructor(source: Source) {
    this.#source = source;
  }

  /** Undefined for messages that were made and not decoded. */
  static sourceOf(message: object): Source | undefined {
    return #source in message ? message.#source : undefined;
  }
}

interface DecodeState {
  readonly reader: WireReader;
  readonly limits: DecodeLimits;
  parts: number;
}

/**
 * Parses an ONNX file. Throws `onnx-truncated`, `onnx-malformed` or `onnx-too-large`; whether the
 * graph makes sense is the checker's business.
 */
export function decodeModel(
  bytes: Uint8Array,
  limits: DecodeLimits = defaultDecodeLimits,
): ModelProto {
  if (bytes.length === 0)
    throw new FleetError("onnx-truncated", "the file is empty: copy it again");
  if (bytes.length > limits.fileBytesMax) {
    throw new FleetError(
      "onnx-too-large",
      `the file has ${bytes.length} bytes, ${limits.fileBytesMax} are allowed: use a smaller model`,
    );
  }
  // Views of a Buffer would be Buffers, whose slice() does not copy.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const state: DecodeState = { reader: new WireReader(plain), limits, parts: 0 };
  const model = decodeMessage(state, modelSchema, plain.length, 0) as unknown as ModelProto;
  if (model.graph === undefined) throw malformed("it holds no graph");
  return model;
}

/**
 * Writes a model as an ONNX file; parts that were decoded and not replaced keep their bytes. Throws
 * `onnx-too-large` when protobuf has no room for it.
 */
export function encodeModel(
  model: ModelProto,
  fileBytesMax: number = defaultDecodeLimits.fileBytesMax,
): Uint8Array<ArrayBuffer> {
  const sizes = new Map<object, number>();
  const values = model as unknown as Values;
  const fileBytes = messageBytes(modelSchema, values, sizes);
  if (fileBytes > fileBytesMax) {
    throw new FleetError(
      "onnx-too-large",
      `the model takes ${fileBytes} bytes, ${fileBytesMax} fit into one file: use a smaller model`,
    );
  }
  const writer = new WireWriter(fileBytes);
  writeMessage(writer, modelSchema, values, sizes);
  return writer.bytes as Uint8Array<ArrayBuffer>;
}

// ── decoding ────────────────────────────────────────────────────────────────────────────────────

/** Most lists of most messages are empty, so they share one. */
const emptyList: readonly unknown[] = Object.freeze([]);

/** Decodes from the reader's position to `end`. */
function decodeMessage(
  state: DecodeState,
  schema: MessageSchema,
  end: number,
  depth: number,
): Values {
  if (depth > state.limits.depthMax) throw malformed(`more than ${depth} levels of nesting`);
  const { reader } = state;
  const start = reader.position;
  const message = new Decoded({ bytes: reader.bytes, start, end }) as unknown as Values;
  for (const key of schema.listKeys) message[key] = emptyList;
  let bulkChunks: Map<Field, BulkArray[]> | undefined;
  let unknown: UnknownField[] | undefined;
  while (reader.position < end) {
    const tagStart = reader.position;
    const tag = reader.varint(end);
    const type = tag & 7;
    const number = Math.floor(tag / 8);
    if (number === 0) throw malformed("a field has number 0");
    const field = schema.byNumber[number];
    if (field === undefined) {
      reader.skip(type, end);
      unknown ??= [];
      unknown.push({ number, bytes: reader.bytes.subarray(tagStart, reader.position) });
      countPart(state);
    } else if (field.bulk) {
      bulkChunks ??= new Map();
      const chunks = bulkChunks.get(field) ?? [];
      bulkChunks.set(field, chunks);
      chunks.push(decodeBulk(state, field, type, end));
    } else {
      decodeField(state, { schema, field, type, end, depth, message });
    }
  }
  for (const [field, chunks] of bulkChunks ?? []) message[field.key] = joinBulk(field, chunks);
  if (unknown !== undefined) message["unknownFields"] = Object.freeze(unknown);
  return seal(state, schema, message);
}

/** Checks what only the whole message shows and makes the message read-only. */
function seal(state: DecodeState, schema: MessageSchema, message: Values): Values {
  if (schema === tensorSchema) {
    checkDeclaredSize(message as unknown as TensorProto, state.limits.tensorBytesMax);
  }
  for (const key of schema.listKeys) {
    if (message[key] !== emptyList) Object.freeze(message[key]);
  }
  return Object.freeze(message);
}

interface FieldContext {
  readonly schema: MessageSchema;
  readonly field: Field;
  readonly type: number;
  readonly end: number;
  readonly depth: number;
  readonly message: Values;
}

/** The list of a message that is being decoded, its own as soon as it has an item. */
function growingList(message: Values, key: string): unknown[] {
  if (message[key] === emptyList) message[key] = [];
  return message[key] as unknown[];
}

function decodeField(state: DecodeState, context: FieldContext): void {
  const { field, type, end, message } = context;
  const { reader } = state;
  if (type === wireType.bytes && isNumeric(field)) {
    if (!field.repeated) throw wrongType(context);
    const rangeEnd = reader.rangeEnd(end);
    const list = growingList(message, field.key);
    while (reader.position < rangeEnd) {
      countPart(state);
      list.push(decodeNumber(reader, field, rangeEnd));
    }
    return;
  }
  if (type !== wireTypeOf(field)) throw wrongType(context);
  countPart(state);
  const value = decodeValue(state, context);
  if (field.repeated) {
    growingList(message, field.key).push(value);
    return;
  }
  if (field.kind === "message" && message[field.key] !== undefined) {
    throw malformed(`${context.schema.name} holds its field ${field.key} twice`);
  }
  message[field.key] = value;
}

function decodeValue(state: DecodeState, context: FieldContext): unknown {
  const { field, end, depth } = context;
  const { reader } = state;
  if (isNumeric(field)) return decodeNumber(reader, field, end);
  const rangeEnd = reader.rangeEnd(end);
  if (field.kind === "message") {
    return decodeMessage(state, field.schema!(), rangeEnd, depth + 1);
  }
  const start = reader.position;
  reader.position = rangeEnd;
  return field.kind === "string"
    ? decodeText(reader.bytes, start, rangeEnd)
    : reader.bytes.subarray(start, rangeEnd);
}

function decodeNumber(reader: WireReader, field: Field, end: number): number | bigint {
  if (field.kind === "float") return reader.float32(end);
  if (field.kind === "double") return reader.float64(end);
  const value = reader.int64(end);
  if (field.kind === "int64") return value;
  return field.kind === "uint64" ? BigInt.asUintN(64, value) : Number(BigInt.asIntN(32, value));
}

/** Short names are most of a file's strings; for them a loop is faster than a decoder. */
const asciiLoopMax = 64;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > asciiLoopMax) return decodeUtf8(bytes.subarray(start, end));
  let text = "";
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte >= 0x80) return decodeUtf8(bytes.subarray(start, end));
    text += String.fromCharCode(byte);
  }
  return text;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new FleetError("onnx-malformed", "a text is not UTF-8: export the model again", {
      cause,
    });
  }
}

type BulkArray = Float32Array | Float64Array | Int32Array | BigInt64Array | BigUint64Array;

/** One range of packed numbers, or one single number of an unpacked list. */
function decodeBulk(state: DecodeState, field: Field, type: number, end: number): BulkArray {
  const { reader } = state;
  if (type !== wireType.bytes) {
    if (type !== wireTypeOf(field)) throw malformed(`field ${field.key} has wire type ${type}`);
    countPart(state);
    const single = newBulk(field, 1);
    single[0] = decodeNumber(reader, field, end) as never;
    return single;
  }
  const rangeEnd = reader.rangeEnd(end);
  const start = reader.position;
  if (field.kind === "float" || field.kind === "double") {
    const width = field.kind === "float" ? 4 : 8;
    if ((rangeEnd - start) % width !== 0) throw malformed(`field ${field.key} has a broken length`);
    const copy = reader.bytes.slice(start, rangeEnd);
    reader.position = rangeEnd;
    return width === 4 ? new Float32Array(copy.buffer) : new Float64Array(copy.buffer);
  }
  // Each varint has exactly one byte without the continuation bit.
  let count = 0;
  for (let at = start; at < rangeEnd; at++) if (reader.bytes[at]! < 0x80) count++;
  const values = newBulk(field, count);
  for (let index = 0; reader.position < rangeEnd; index++) {
    values[index] = decodeNumber(reader, field, rangeEnd) as never;
  }
  return values;
}

function newBulk(field: Field, length: number): BulkArray {
  if (field.kind === "float") return new Float32Array(length);
  if (field.kind === "double") return new Float64Array(length);
  if (field.kind === "int64") return new BigInt64Array(length);
  return field.kind === "uint64" ? new BigUint64Array(length) : new Int32Array(length);
}

function joinBulk(field: Field, chunks: readonly BulkArray[]): BulkArray {
  if (chunks.length === 1) return chunks[0]!;
  const joined = newBulk(
    field,
    chunks.reduce((sum, chunk) => sum + chunk.length, 0),
  );
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk as never, at);
    at += chunk.length;
  }
  return joined;
}

function countPart(state: DecodeState): void {
  state.parts++;
  if (state.parts <= state.limits.partsMax) return;
  throw new FleetError(
    "onnx-too-large",
    `the file has more than ${state.limits.partsMax} parts: use a smaller model`,
  );
}

function isNumeric(field: Field): boolean {
  return field.kind !== "message" && field.kind !== "string" && field.kind !== "bytes";
}

function wireTypeOf(field: Field): number {
  if (field.kind === "float") return wireType.fixed32;
  if (field.kind === "double") return wireType.fixed64;
  return isNumeric(field) ? wireType.varint : wireType.bytes;
}

function wrongType({ schema, field, type }: FieldContext): FleetError {
  return malformed(`${schema.name}.${field.key} has wire type ${type}`);
}

// ── encoding ────────────────────────────────────────────────────────────────────────────────────

/** Encoded length of a message, and in `sizes` that of every message inside that must be encoded. */
function messageBytes(schema: MessageSchema, message: Values, sizes: Map<object, number>): number {
  const source = Decoded.sourceOf(message);
  if (source !== undefined) return source.end - source.start;
  const known = sizes.get(message);
  if (known !== undefined) return known;
  let size = 0;
  for (const field of schema.fields) {
    const value = message[field.key];
    if (value === undefined) continue;
    const tagBytes = varintBytes(field.number * 8);
    if (field.packed) {
      const length = packedBytes(field, value as BulkArray);
      size += tagBytes + varintBytes(length) + length;
      continue;
    }
    const items = field.repeated ? (value as readonly unknown[]) : [value];
    for (const item of items) size += tagBytes + valueBytes(field, item, sizes);
  }
  for (const { bytes } of unknownOf(message)) size += bytes.length;
  sizes.set(message, size);
  return size;
}

function valueBytes(field: Field, value: unknown, sizes: Map<object, number>): number {
  if (isNumeric(field)) return numberBytes(field, value as number | bigint);
  let length: number;
  if (field.kind === "string") length = Buffer.byteLength(value as string);
  else if (field.kind === "bytes") length = (value as Uint8Array).length;
  else length = messageBytes(field.schema!(), value as Values, sizes);
  return varintBytes(length) + length;
}

function numberBytes(field: Field, value: number | bigint): number {
  if (field.kind === "float") return 4;
  if (field.kind === "double") return 8;
  return int64Bytes(BigInt(value));
}

function packedBytes(field: Field, values: BulkArray): number {
  if (field.kind === "float" || field.kind === "double") return values.byteLength;
  let size = 0;
  for (const value of values) size += numberBytes(field, value);
  return size;
}

function writeMessage(
  writer: WireWriter,
  schema: MessageSchema,
  message: Values,
  sizes: ReadonlyMap<object, number>,
): void {
  const source = Decoded.sourceOf(message);
  if (source !== undefined) {
    writer.raw(source.bytes.subarray(source.start, source.end));
    return;
  }
  const unknown = unknownOf(message).toSorted((left, right) => left.number - right.number);
  let nextUnknown = 0;
  for (const field of schema.fields) {
    while (nextUnknown < unknown.length && unknown[nextUnknown]!.number < field.number) {
      writer.raw(unknown[nextUnknown++]!.bytes);
    }
    writeField(writer, field, message[field.key], sizes);
  }
  for (const { bytes } of unknown.slice(nextUnknown)) writer.raw(bytes);
}

function writeField(
  writer: WireWriter,
  field: Field,
  value: unknown,
  sizes: ReadonlyMap<object, number>,
): void {
  if (value === undefined) return;
  if (field.packed) {
    writer.varint(field.number * 8 + wireType.bytes);
    writer.varint(packedBytes(field, value as BulkArray));
    for (const item of value as BulkArray) writeNumber(writer, field, item);
    return;
  }
  for (const item of field.repeated ? (value as readonly unknown[]) : [value]) {
    writer.varint(field.number * 8 + wireTypeOf(field));
    if (isNumeric(field)) writeNumber(writer, field, item as number | bigint);
    else if (field.kind === "message") {
      const inner = item as Values;
      const source = Decoded.sourceOf(inner);
      writer.varint(source === undefined ? sizes.get(inner)! : source.end - source.start);
      writeMessage(writer, field.schema!(), inner, sizes);
    } else {
      const bytes = field.kind === "string" ? Buffer.from(item as string) : (item as Uint8Array);
      writer.varint(bytes.length);
      writer.raw(bytes);
    }
  }
}

function writeNumber(writer: WireWriter, field: Field, value: number | bigint): void {
  if (field.kind === "float") writer.float32(value as number);
  else if (field.kind === "double") writer.float64(value as number);
  else writer.int64(BigInt(value));
}

function unknownOf(message: Values): readonly UnknownField[] {
  return (message["unknownFields"] as readonly UnknownField[] | undefined) ?? [];
}

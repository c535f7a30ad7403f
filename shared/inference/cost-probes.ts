/**
 * The models that a device times for its cost table, as one file: the controller makes it, a signed order
 * names it by its hash.
 *
 * Format: CBOR of `{ schema, probes }`, where each probe is CBOR (RFC 8949) in Brotli (RFC 7932), so that a
 * device holds the weights of one probe at a time.
 */
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { decode, encode } from "cborg";
import { z } from "zod";
import { FleetError } from "../errors.ts";
import { costSubjectSchema } from "./cost-table.ts";

const schemaName = "fleetfit/cost-probes/1";
const probesMax = 200;
/** Weights repeat, so that more than this gains little. */
const compression = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };
/** The longest probe has two chains of products of 512 by 512 floats: 11 MB. */
const probeBytesMax = 32_000_000;

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

/** Two models that differ in how many of the operators they hold. */
const probeSchema = costSubjectSchema.extend({
  shortModel: bytesSchema,
  longModel: bytesSchema,
  /** Operators that the long model has more. */
  links: z.int().min(1).max(1_000),
  /** The one input of both; `data` are its bytes, little endian. */
  input: z.object({
    name: z.string().max(64),
    dtype: z.enum(["float32", "uint8"]),
    shape: z.array(z.int().min(1)).max(8),
    data: bytesSchema,
  }),
});
export type CostProbe = z.infer<typeof probeSchema>;

const fileSchema = z.object({
  schema: z.literal(schemaName),
  probes: z.array(bytesSchema).min(1).max(probesMax),
});

export function encodeCostProbes(probes: readonly CostProbe[]): Uint8Array {
  return encode({
    schema: schemaName,
    probes: probes.map((probe) => plain(brotliCompressSync(encode(probe), compression))),
  });
}

/** One probe after the other. Errors: `costs-invalid`. */
export function* decodeCostProbes(bytes: Uint8Array): Generator<CostProbe> {
  const { probes } = parse(fileSchema, () => decode(bytes));
  for (const packed of probes) {
    yield parse(probeSchema, () =>
      decode(plain(brotliDecompressSync(packed, { maxOutputLength: probeBytesMax }))),
    );
  }
}

/** A view, since CBOR takes a Buffer for something else. */
function plain({ buffer, byteOffset, byteLength }: Buffer): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function parse<Shape extends z.ZodType>(shape: Shape, read: () => unknown): z.infer<Shape> {
  try {
    return shape.parse(read());
  } catch (cause) {
    throw new FleetError("costs-invalid", "the probes of the cost table cannot be read", { cause });
  }
}

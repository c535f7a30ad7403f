/**
 * What a message is: its name, version, direction, topic, delivery, size limit and schema, stated once.
 * Encoding and decoding happen here and nowhere else, in CBOR (RFC 8949) with one envelope for all.
 *
 * Invariants: a version that was ever sent stays decodable; nothing is read past `bytesMax`; nothing
 * depends on retained messages, so `retain` is always false.
 */
import { decode as decodeCbor, encode as encodeCbor } from "cborg";
import { z } from "zod";
import { deviceIdSchema, tenantSchema } from "../artifact/names.ts";
import { FleetError } from "../errors.ts";

/** Bytes that the envelope may add to a payload. */
const envelopeBytesMax = 512;

export interface MessageDefinition<Name extends string = string, Payload = unknown> {
  readonly name: Name;
  readonly version: number;
  /** `up` and `down` live below a device; `claim-up` and `claim-down` below a claim token. */
  readonly direction: "up" | "down" | "claim-up" | "claim-down";
  readonly qos: 0 | 1;
  readonly retain: false;
  /** `outbox`: stored until the controller acks it. `best-effort`: sent again by later state. */
  readonly delivery: "outbox" | "best-effort";
  readonly bytesMax: number;
  readonly schema: z.ZodType<Payload>;
}

export function defineMessage<Name extends string, Payload>(
  definition: Omit<MessageDefinition<Name, Payload>, "retain">,
): MessageDefinition<Name, Payload> {
  return { ...definition, retain: false };
}

export const envelopeSchema = z.object({
  /** Version of the payload's schema. */
  v: z.int().min(1).max(1000),
  tenant: tenantSchema,
  /** Sender or receiver; the claim id for enrolment. */
  device: deviceIdSchema,
  /** Random name of the sender's process run. */
  boot: z.string().regex(/^[0-9a-f]{16}$/),
  /** Rises by one with each message of a boot. */
  sequence: z.int().min(0),
  monotonicMs: z.number().min(0),
  wallMs: z.number().min(0).nullable(),
  clockTrusted: z.boolean(),
});
export type Envelope = z.infer<typeof envelopeSchema>;

const frameSchema = envelopeSchema.extend({ payload: z.unknown() });

export interface Decoded<Payload> {
  readonly envelope: Envelope;
  readonly payload: Payload;
}

/** Errors: `message-too-large`. A payload that breaks its own schema is our bug and throws. */
export function encodeMessage<Payload>(
  message: MessageDefinition<string, Payload>,
  envelope: Omit<Envelope, "v">,
  payload: Payload,
): Uint8Array {
  const parsed = message.schema.parse(payload);
  const bytes = encodeCbor(
    { v: message.version, ...envelope, payload: parsed },
    { ignoreUndefinedProperties: true },
  );
  if (bytes.byteLength > message.bytesMax + envelopeBytesMax)
    throw tooLarge(message, bytes.byteLength);
  return bytes;
}

/**
 * Errors: `message-too-large`, `message-malformed`, `message-version-unknown`.
 */
export function decodeMessage<Payload>(
  message: MessageDefinition<string, Payload>,
  bytes: Uint8Array,
): Decoded<Payload> {
  if (bytes.byteLength > message.bytesMax + envelopeBytesMax)
    throw tooLarge(message, bytes.byteLength);
  const { payload, ...envelope } = parseFrame(message.name, bytes);
  if (envelope.v !== message.version) {
    throw new FleetError(
      "message-version-unknown",
      `${message.name} has version ${envelope.v}; this program reads ${message.version}`,
    );
  }
  const parsed = message.schema.safeParse(payload);
  if (!parsed.success) throw malformed(message.name, z.prettifyError(parsed.error), parsed.error);
  return { envelope, payload: parsed.data };
}

function parseFrame(name: string, bytes: Uint8Array): z.infer<typeof frameSchema> {
  let value: unknown;
  try {
    value = decodeCbor(bytes, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      rejectDuplicateMapKeys: true,
    });
  } catch (cause) {
    throw malformed(name, "not CBOR", cause);
  }
  const frame = frameSchema.safeParse(value);
  if (!frame.success) throw malformed(name, z.prettifyError(frame.error), frame.error);
  return frame.data;
}

function malformed(name: string, reason: string, cause: unknown): FleetError {
  return new FleetError("message-malformed", `${name}: ${reason}`, { cause });
}

function tooLarge(message: MessageDefinition, bytes: number): FleetError {
  return new FleetError(
    "message-too-large",
    `${message.name} has ${bytes} bytes; its limit is ${message.bytesMax}`,
  );
}

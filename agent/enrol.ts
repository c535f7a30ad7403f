/**
 * Turns a one-time claim token into an identity. Key and password are drawn and stored before the
 * first request, so a request that is sent again after a power cut is the same request.
 */
import { z } from "zod";
import { sha256Hex } from "../shared/artifact/hash.ts";
import { generateKeyPair } from "../shared/artifact/signature.ts";
import { createSessionLoop } from "../shared/connection.ts";
import type { Profile } from "../shared/devices/profile.ts";
import { type ErrorCode, FleetError, isErrorCode, isFleetError } from "../shared/errors.ts";
import type { MqttConnection } from "../shared/ports/mqtt.ts";
import {
  type ClaimToken,
  claimTokenSchema,
  claimUsernamePrefix,
} from "../shared/protocol/claim-token.ts";
import { decodeMessage, encodeMessage } from "../shared/protocol/message.ts";
import { enrolRequest, enrolResponse } from "../shared/protocol/messages/enrol.ts";
import type { PayloadOf } from "../shared/protocol/registry.ts";
import { claimFilter, topicOf } from "../shared/protocol/topics.ts";
import type { AgentPorts } from "./context.ts";
import { type Identity, identityKeySchema, identitySchema } from "./identity.ts";
import type { AgentStore } from "./state/store.ts";
import { agentVersion } from "./version.ts";

const pendingSchema = z.object({
  claim: claimTokenSchema,
  password: z.string(),
  key: identityKeySchema,
});

const identityKey = "identity";
const pendingKey = "enrolment";
/** How often the request is sent again while no answer came, in ms. */
const askAgainMs = 5_000;
const passwordBytes = 32;
const keepaliveSeconds = 30;
const connectTimeoutMs = 20_000;

/** The identity of an earlier enrolment. */
export function storedIdentity(store: AgentStore): Identity | undefined {
  const text = store.setting(identityKey);
  return text === undefined ? undefined : identitySchema.parse(JSON.parse(text));
}

/**
 * Enrols with the token, however long it takes, and stores the identity.
 * Errors: those that the controller answers, e.g. `claim-expired`, `claim-used`, `device-retired`.
 */
export async function enrol(
  ports: AgentPorts,
  store: AgentStore,
  options: { claim: ClaimToken; profile: Profile; boot: string },
): Promise<Identity> {
  const pending = pendingEnrolment(ports, store, options.claim);
  const answer = await askUntilAnswered(ports, pending, options);
  if (!answer.accepted) {
    const code: ErrorCode = isErrorCode(answer.code) ? answer.code : "claim-invalid";
    throw new FleetError(code, `the controller refused the claim: ${answer.reason}`);
  }
  const { tenant, device, region, labels, signingKeys } = answer;
  const identity: Identity = {
    tenant,
    device,
    region,
    labels,
    signingKeys,
    mqttUrl: pending.claim.mqttUrl,
    caPem: pending.claim.caPem,
    password: pending.password,
    key: pending.key,
  };
  store.transaction(() => {
    store.setSetting(identityKey, JSON.stringify(identity));
    store.removeSetting(pendingKey);
  });
  return identity;
}

function pendingEnrolment(ports: AgentPorts, store: AgentStore, claim: ClaimToken) {
  const stored = store.setting(pendingKey);
  if (stored !== undefined) {
    const pending = pendingSchema.parse(JSON.parse(stored));
    if (pending.claim.claim === claim.claim) return pending;
  }
  const password = Buffer.from(ports.random.bytes(passwordBytes)).toString("base64url");
  const pending = { claim, password, key: generateKeyPair() };
  store.setSetting(pendingKey, JSON.stringify(pending));
  return pending;
}

type Response = PayloadOf<"enrol-response">;

function askUntilAnswered(
  ports: AgentPorts,
  pending: z.infer<typeof pendingSchema>,
  options: { profile: Profile; boot: string },
): Promise<Response> {
  const { claim } = pending;
  return new Promise((resolve, reject) => {
    const done = new AbortController();
    const loop = createSessionLoop({
      connect: ports.connectMqtt,
      clock: ports.clock,
      random: ports.random,
      log: ports.log,
      options: () => ({
        url: claim.mqttUrl,
        caPem: claim.caPem,
        clientId: `claim-${claim.claim}`,
        username: claimUsernamePrefix + claim.claim,
        password: claim.secret,
        cleanSession: true,
        keepaliveSeconds,
        connectTimeoutMs,
      }),
      onFailed(error) {
        if (!isFleetError(error, "mqtt-refused")) return true;
        reject(
          new FleetError("claim-invalid", "the broker refused the claim token", { cause: error }),
        );
        return false;
      },
      async onConnected(connection) {
        connection.onMessage((_topic, bytes) => {
          const answer = readAnswer(ports, bytes);
          if (answer === undefined) return;
          resolve(answer);
          done.abort();
        });
        await connection.subscribe(claimFilter(claim.tenant, claim.claim), 1);
        void askAgainAndAgain(ports, connection, { pending, ...options, signal: done.signal });
      },
    });
    loop.start();
    done.signal.addEventListener("abort", () => void loop.stop());
  });
}

/** Undefined for bytes that are no answer: the request is sent again. */
function readAnswer(ports: AgentPorts, bytes: Uint8Array): Response | undefined {
  try {
    return decodeMessage(enrolResponse, bytes).payload;
  } catch (error) {
    if (!isFleetError(error)) throw error;
    ports.log.warn("an enrolment answer was refused", { code: error.code, error: error.message });
    return undefined;
  }
}

async function askAgainAndAgain(
  ports: AgentPorts,
  connection: MqttConnection,
  options: {
    pending: z.infer<typeof pendingSchema>;
    profile: Profile;
    boot: string;
    signal: AbortSignal;
  },
): Promise<void> {
  const { claim, password, key } = options.pending;
  const closed = new AbortController();
  connection.onClose(() => closed.abort());
  const topic = topicOf(enrolRequest, claim.tenant, claim.claim);
  for (let sequence = 0; !options.signal.aborted && !closed.signal.aborted; sequence++) {
    const bytes = encodeMessage(
      enrolRequest,
      {
        tenant: claim.tenant,
        device: claim.claim,
        boot: options.boot,
        sequence,
        monotonicMs: ports.clock.monotonicMs(),
        wallMs: null,
        clockTrusted: false,
      },
      {
        publicKey: key.publicKey,
        passwordSha256: sha256Hex(new TextEncoder().encode(password)),
        profile: options.profile,
        agentVersion,
      },
    );
    await connection.publish(topic, bytes, 1).catch(() => {});
    await ports.clock.sleep(askAgainMs, AbortSignal.any([options.signal, closed.signal]));
  }
}

/** One typical payload per message of the protocol: what the recorded fixtures hold. */
import { sha256Hex } from "../../shared/artifact/hash.ts";
import type { Profile } from "../../shared/devices/profile.ts";
import type { MessageName, PayloadOf } from "../../shared/protocol/registry.ts";

const hash = (text: string) => sha256Hex(new TextEncoder().encode(text));

export const sampleEnvelope = {
  tenant: "acme",
  device: "cam-1",
  boot: "0123456789abcdef",
  sequence: 7,
  monotonicMs: 1234.5,
  wallMs: 1_790_000_000_000,
  clockTrusted: true,
};

const key = { keyId: hash("key"), spkiBase64: "MCowBQYDK2VwAyEA" };
const signed = {
  signed: { schema: "fleetfit/manifest/1", releaseCounter: 4 },
  signatures: [{ keyId: hash("key"), signatureBase64: "c2lnbmF0dXJl" }],
};

const both = {
  fresh: new Array<number>(20).fill(3),
  running: new Array<number>(20).fill(4),
};

export const sampleProfile: Profile = {
  architecture: "arm64",
  platform: "linux",
  kernel: "6.1.0",
  cpuModel: "Cortex-A76",
  cores: 4,
  isa: ["asimddp"],
  ramBytes: 4_294_967_296,
  storageFreeBytes: 8_000_000_000,
  storageTotalBytes: 16_000_000_000,
  power: "battery",
  batteryFraction: 0.5,
  thermalZones: [{ type: "cpu-thermal", celsius: 48.5 }],
  runtime: { onnxruntime: "1.30.0", providers: ["cpu"] },
  int8ToFloat32Ratio: 0.6,
  emulated: true,
};

export const samplePayloads: { readonly [Name in MessageName]: PayloadOf<Name> } = {
  "enrol-request": {
    publicKey: key,
    passwordSha256: hash("password"),
    profile: sampleProfile,
    agentVersion: "0.1.0",
  },
  "enrol-response": {
    accepted: true,
    tenant: "acme",
    device: "cam-1",
    region: "eu-west",
    labels: { site: "a" },
    signingKeys: [key],
  },
  birth: {
    session: 3,
    agentVersion: "0.1.0",
    profileFingerprint: "abcdef",
    emulated: true,
    outboxPending: 2,
  },
  death: { session: 3 },
  desired: {
    revision: 9,
    standing: "active",
    models: { digits: { attempt: "a-1", arm: "canary", outcomeKnown: false, manifest: signed } },
    measurements: [{ measurement: "m-1", manifest: signed }],
    costs: null,
    telemetry: { windowMs: 30_000 },
  },
  hold: { holds: [signed] },
  reported: {
    desiredRevision: 9,
    holds: [],
    models: {
      digits: {
        committed: {
          bundleSha256: hash("bundle"),
          version: "1",
          recipe: "int8-static",
          releaseCounter: 4,
        },
        servingSha256: hash("bundle"),
        releaseCounterHighest: 5,
        update: { attempt: "a-2", state: "downloading", progressFraction: 0.25, waiting: null },
      },
    },
  },
  "attempt-outcome": {
    attempt: "a-2",
    model: "digits",
    version: "2",
    bundleSha256: hash("bundle-2"),
    releaseCounter: 5,
    outcome: "rolled-back",
    code: "paired-metric",
    why: "44 of 500 samples got worse and 2 better (p = 3e-11)",
    gates: [
      {
        gate: "paired-metric",
        verdict: "fail",
        why: "44 worse, 2 better",
        numbers: { worse: 44, better: 2 },
      },
    ],
    servingSha256: hash("bundle"),
    emulated: true,
  },
  measurement: {
    measurement: "m-1",
    model: "digits",
    bundleSha256: hash("bundle"),
    fingerprint: "abcdef",
    emulated: true,
    environmentDegraded: false,
    facts: [{ metric: "latency-p50-ms", value: 0.05, interval: [0.04, 0.06], n: 512 }],
    failure: null,
  },
  "cost-table": {
    measurement: "c-1",
    fingerprint: "abcdef",
    emulated: false,
    environmentDegraded: false,
    table: {
      entries: [
        { operator: "conv-3x3", type: "float32", channels: 64, pixels: 256, timeNs: 263_000 },
        { operator: "conv-3x3", type: "int8", channels: 64, pixels: 256, timeNs: 85_000.5 },
      ],
    },
    failure: null,
  },
  inventory: { profile: sampleProfile, agentVersion: "0.1.0" },
  "telemetry-window": {
    model: "digits",
    bundleSha256: hash("bundle"),
    region: "eu-west",
    startedAtMs: 1_790_000_000_000,
    durationMs: 30_000,
    ok: 3,
    errors: 1,
    timeouts: 0,
    latency: {
      scale: 5,
      offset: -140,
      counts: [1, 0, 2],
      zeroCount: 0,
      count: 3,
      sum: 0.15,
      min: 0.048,
      max: 0.051,
    },
    ramPeakBytes: 90_000_000,
    emulated: true,
  },
  "soak-report": {
    attempt: "a-1",
    model: "digits",
    version: "2",
    bundleSha256: hash("bundle-2"),
    verdict: "rolled-back",
    code: "soak-crashes",
    why: "the serving process crashed or hung 2 times over 2000 inferences",
    numbers: { calls: 2000, crashes: 2, crashesLogE: 9.2 },
    histograms: { confidence: both, margin: both, entropy: both },
    warnings: ["the margin of the new model is distributed otherwise"],
    servingSha256: hash("bundle"),
    emulated: true,
  },
  observation: {
    attempt: "a-1",
    model: "digits",
    arm: "canary",
    horizonMs: 3_600_000,
    signals: {
      errors: { before: { mean: 0, n: 700 }, after: { mean: 0.001, n: 1000 } },
      "golden-metric": { before: { mean: 0.98, n: 500 }, after: { mean: 0.97, n: 500 } },
    },
    emulated: true,
  },
  "label-request": {
    attempt: "a-1",
    model: "digits",
    sample: hash("sample").slice(0, 32),
    freshIndex: 3,
    runningIndex: 8,
    inputs: { image: new Uint8Array([0, 127, 255]) },
  },
  labels: {
    attempt: "a-1",
    model: "digits",
    labels: [
      { sample: hash("sample").slice(0, 32), index: 8 },
      { sample: hash("blurred").slice(0, 32), index: null },
    ],
  },
  ack: { messages: [{ boot: "0123456789abcdef", sequence: 7 }] },
  "artifact-request": {
    sha256: hash("artifact"),
    firstBlock: 8,
    missing: new Uint8Array([0b0000_0101]),
  },
  "artifact-block": {
    sha256: hash("artifact"),
    totalBytes: 131_072,
    index: 1,
    data: new Uint8Array([1, 2, 3]),
  },
  "artifact-refused": { sha256: hash("artifact"), code: "not-found", reason: "no such artifact" },
};

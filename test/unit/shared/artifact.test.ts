/** Canonical bytes, signatures, bundles and claim tokens. */
import { describe, expect, it } from "vitest";
import {
  type Bundle,
  decodeBundle,
  encodeBundle,
  modelInterfaceSchema,
} from "../../../shared/artifact/bundle.ts";
import { canonicalJson } from "../../../shared/artifact/canonical-json.ts";
import { sha256Hex } from "../../../shared/artifact/hash.ts";
import { installAlways } from "../../../shared/artifact/install-policy.ts";
import { type Manifest, signManifest, verifyManifest } from "../../../shared/artifact/manifest.ts";
import { generateKeyPair } from "../../../shared/artifact/signature.ts";
import { decodeClaimToken, encodeClaimToken } from "../../../shared/protocol/claim-token.ts";

const hash = sha256Hex(new Uint8Array([1]));
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const withCode = (code: string) => expect.objectContaining({ code });

describe("canonical JSON", () => {
  it("sorts keys by UTF-16 code units and writes numbers as ECMAScript does (RFC 8785 §3.2.3)", () => {
    expect(
      text(canonicalJson({ "\u20ac": 1, "\r": 2, "1": 3, "\u0080": 4, "\ud83d\ude02": 5 })),
    ).toBe('{"\\r":2,"1":3,"\u0080":4,"\u20ac":1,"\ud83d\ude02":5}');
    expect(text(canonicalJson([1e30, 4.5, 0.002, -0, 333333333.3333333]))).toBe(
      "[1e+30,4.5,0.002,0,333333333.3333333]",
    );
  });
  it("does not depend on the order of keys, nor see undefined members", () => {
    expect(canonicalJson({ a: 1, b: { c: 2, d: undefined } })).toEqual(
      canonicalJson({ b: { c: 2 }, a: 1 }),
    );
  });
});

const manifest: Manifest = {
  schema: "fleetfit/manifest/1",
  tenant: "acme",
  device: "cam-1",
  purpose: "release",
  model: "digits",
  version: "2",
  recipe: "int8-static",
  bundle: { sha256: hash, bytes: 100 },
  filesBytes: 1000,
  releaseCounter: 5,
  runtime: { onnxruntimeMin: "1.30.0", onnxruntimeMaxExclusive: "2.0.0" },
  opset: 13,
  executionProvider: { name: "cpu", options: {} },
  deviceClass: "camera-arm",
  choiceEmulated: false,
  golden: [{ shard: { sha256: hash, bytes: 10 }, reference: { sha256: hash, bytes: 10 } }],
  gates: {
    classFloor: null,
    sliceFloor: null,
    nonInferiorityMargin: null,
    energyRatioMax: null,
    vocabulary: 1,
    onInconclusive: "commit",
    metricFloor: 0.8,
    latencyRatioMax: 1.1,
    latencyMsMax: null,
    ramPeakBytesMax: null,
    parityOnlyAlpha: null,
    parityFlipFractionMax: 0.005,
    alphaDevice: 0.001,
  },
  install: installAlways,
  soak: null,
  agentMin: "0.1.0",
  issuedAtMs: 1,
  expiresAtMs: 2,
};

describe("signed manifests", () => {
  const key = generateKeyPair();
  it("are read back when a trusted key signed them", () => {
    const document = JSON.parse(JSON.stringify(signManifest(manifest, key)));
    expect(verifyManifest(document, [generateKeyPair().publicKey, key.publicKey])).toEqual(
      manifest,
    );
  });
  it("are refused from another key, or when one field changed", () => {
    const document = signManifest(manifest, key);
    const other = generateKeyPair().publicKey;
    expect(() => verifyManifest(document, [other])).toThrow(withCode("signature-invalid"));
    const raised = { ...document, signed: { ...document.signed, releaseCounter: 6 } };
    expect(() => verifyManifest(raised, [key.publicKey])).toThrow(withCode("signature-invalid"));
  });
  it("are refused when a key id names other key bytes", () => {
    const forged = { ...generateKeyPair().publicKey, keyId: key.publicKey.keyId };
    expect(() => verifyManifest(signManifest(manifest, key), [forged])).toThrow(
      withCode("signature-invalid"),
    );
  });
  it.each([null, 7, "x", {}, { signed: {}, signatures: [] }])("are refused when %j", (document) => {
    expect(() => verifyManifest(document, [key.publicKey])).toThrow(withCode("manifest-invalid"));
  });
});

describe("bundles", () => {
  const bundle: Bundle = {
    schema: "fleetfit/bundle/1",
    model: "digits",
    version: "2",
    files: [{ role: "model", name: "model.onnx", sha256: hash, bytes: 1000 }],
    interface: {
      inputs: [{ tensor: "image", sample: { dtype: "uint8", shape: [28, 28] }, steps: [] }],
      output: { kind: "classification", tensor: "logits", scores: "softmax", labels: ["0", "1"] },
    },
    thresholds: {},
    provenance: {
      sourceSha256: hash,
      recipe: "fp16",
      recipeSha256: hash,
      seed: 1,
      runtime: "1.30.0",
      cpuFlags: ["avx2"],
    },
  };
  it("are named by the hash of their canonical bytes", () => {
    const { bytes, sha256 } = encodeBundle(bundle);
    expect(decodeBundle(bytes, sha256)).toEqual(bundle);
    const changed = bytes.slice();
    changed[20]! ^= 1;
    expect(() => decodeBundle(changed, sha256)).toThrow(withCode("artifact-mismatch"));
  });

  const [model] = bundle.files;
  const asset = { ...model!, role: "asset" as const, name: "tokenizer.json" };
  const step = { op: "tokenize", asset: asset.name, length: 8, yields: "ids" } as const;
  const reading = (...steps: object[]) => ({
    ...bundle.interface,
    inputs: [{ ...bundle.interface.inputs[0]!, steps }],
  });
  const decoded = (change: object) => {
    const bytes = canonicalJson({ ...bundle, ...change } as never);
    return decodeBundle(bytes, sha256Hex(bytes));
  };
  it("hold the files that their steps read", () => {
    const whole = { files: [model, asset], interface: reading(step) };
    expect(decoded(whole).files).toEqual([model, asset]);
  });
  it.each<[string, object]>([
    ["without a file that a step reads", { interface: reading(step) }],
    ["with two files of one name", { files: [model, asset, asset] }],
    [
      "with a file in the descriptor's place",
      { files: [model, { ...asset, name: "bundle.json" }] },
    ],
    ["with tokens of tokens", { files: [model, asset], interface: reading(step, step) }],
    ["with a step that nobody knows", { interface: reading({ op: "rotate" }) }],
    ["reading the model as a tokenizer", { interface: reading({ ...step, asset: "model.onnx" }) }],
  ])("are refused %s", (_, change) => {
    expect(() => decoded(change)).toThrow(withCode("manifest-invalid"));
  });
  it.each(["model.onnx", "bundle.json", "../key"])("take no asset named %s", (name) => {
    const parse = (one: string) => modelInterfaceSchema.safeParse(reading({ ...step, asset: one }));
    expect([parse(name).success, parse("words.json").success]).toEqual([false, true]);
  });
});

describe("claim tokens", () => {
  const token = {
    tenant: "acme",
    claim: "c-1",
    secret: "s".repeat(43),
    mqttUrl: "mqtts://127.0.0.1:8883",
    caPem: "-----BEGIN CERTIFICATE-----",
    signingKeys: [generateKeyPair().publicKey],
  };
  it("survive a copy with white space around it", () => {
    expect(decodeClaimToken(`\n ${encodeClaimToken(token)} \n`)).toEqual(token);
  });
  it.each(["", "ffclaim1.", "ffclaim1.e30", "other"])("are refused when %j", (bad) => {
    expect(() => decodeClaimToken(bad)).toThrow(withCode("claim-invalid"));
  });
});

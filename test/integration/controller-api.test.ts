/**
 * The model side of the controller through its HTTP API: import, compression in a child process,
 * variants; everything that may not be imported; jobs that are cancelled, cut off or too long; and the
 * API description.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { z } from "zod";
import type { RunningController } from "../../controller/controller.ts";
import { makeNode } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { listBlobs } from "../../controller/storage/blobs/repository.ts";
import type { Foretold } from "../../shared/api/evaluation.ts";
import { type Routes, routes } from "../../shared/api/registry.ts";
import { decodeBundle } from "../../shared/artifact/bundle.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { errorFacts } from "../../shared/errors.ts";
import { decodeReference, decodeShard } from "../../shared/evaluation/golden-shard.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import {
  tinyClassifier,
  tinyGolden,
  tinyInterface,
  tinyModelBytes,
} from "../helpers/tiny-classifier.ts";

const { folder, remove } = temporaryFolder();
let controller: RunningController;
let token: string;

beforeAll(async () => {
  controller = await startTestController(folder);
  token = readFileSync(join(folder, "admin-token"), "utf8").trim();
});
afterAll(async () => {
  await controller.stop();
  remove();
});

async function send(
  method: string,
  path: string,
  body?: string | Uint8Array<ArrayBuffer>,
  type = "application/json",
) {
  const response = await fetch(`${controller.httpUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { "content-type": type }),
    },
    ...(body !== undefined && { body }),
  });
  return { status: response.status, body: JSON.parse(await response.text()) };
}
const get = (path: string) => send("GET", path);
const post = (path: string, body: unknown = {}) => send("POST", path, JSON.stringify(body));

async function upload(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const sha256 = sha256Hex(bytes);
  const { status } = await send("PUT", `/v1/blobs/${sha256}`, bytes, "application/octet-stream");
  expect(status).toBe(200);
  return sha256;
}

async function importModel(
  version: string,
  options: {
    onnx?: Uint8Array<ArrayBuffer>;
    golden?: Record<string, Uint8Array>;
    interface?: object | null;
    model?: string;
  } = {},
) {
  const files: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(options.golden ?? tinyGolden())) {
    files[name] = await upload(new Uint8Array(bytes));
  }
  return post(`/v1/models/${options.model ?? "tiny"}/versions`, {
    version,
    sourceSha256: await upload(options.onnx ?? tinyModelBytes()),
    golden: { manifest: "golden.json", files },
    ...(options.interface === null ? {} : { interface: options.interface ?? tinyInterface }),
  });
}

type Job = z.output<Routes["getJob"]["answer"]>;

async function jobEnd(id: string): Promise<Job> {
  for (;;) {
    const { body } = await get(`/v1/jobs/${id}`);
    if (!["queued", "running"].includes(body.status)) return body;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe("a version", () => {
  it("is imported, compressed and evaluated; devices find all they need", async () => {
    expect(await importModel("1")).toMatchObject({ status: 201, body: { version: "1" } });
    const { status, body: job } = await post("/v1/models/tiny/versions/1/compress");
    expect(status).toBe(201);
    expect(await jobEnd(job.id)).toMatchObject({
      status: "done",
      progressFraction: 1,
      error: null,
    });

    const { variants } = (await get("/v1/models/tiny/versions/1/variants")).body;
    const byRecipe = Object.fromEntries(
      variants.map((each: { recipe: string }) => [each.recipe, each]),
    );
    expect(Object.keys(byRecipe)).toEqual([
      "fp16",
      "fp32-clean",
      "int4-weights",
      "int4-weights-recovered",
      "int8-dynamic",
      "int8-recurrent",
      "int8-static",
      "int8-static-recovered",
      "int8-static-recovered-reduced-range",
      "int8-static-reduced-range",
      "int8-weights",
    ]);
    const { "fp32-clean": clean, fp16, "int8-static": int8 } = byRecipe;
    expect(clean).toMatchObject({
      status: "ready",
      evaluation: { metric: "top-1", worse: 0, better: 0 },
    });
    expect(clean.evaluation.sealed.n).toBe(90);
    expect(clean.evaluation.fusion).toMatchObject({ integerNodes: 0, floatNodes: 2 });
    expect(int8.evaluation.fusion).toMatchObject({ integerNodes: 2, floatNodes: 0 });
    expect(clean.evaluation.foretold).toEqual([]);
    const told = int8.evaluation.foretold.map((each: Foretold) => [each.processor, each.outcome]);
    expect(told).toContainEqual([process.arch === "arm64" ? "vnni" : "arm", "foretold"]);
    expect(fp16.modelBytes).toBeLessThan(clean.modelBytes);
    expect(int8.status).toBe("ready");

    const { ctx } = controller;
    const bundle = decodeBundle(await ctx.blobs.read(int8.bundleSha256), int8.bundleSha256);
    expect(await ctx.blobs.size(bundle.files[0]!.sha256)).toBe(int8.modelBytes);
    const references = await ctx.db
      .selectFrom("referenceOutputs")
      .selectAll()
      .where("bundleSha256", "=", int8.bundleSha256)
      .execute();
    expect(references.length).toBeGreaterThan(0);
    const known = (await listBlobs(ctx.db)).map(({ sha256 }) => sha256);
    expect(known).toEqual(
      expect.arrayContaining([int8.bundleSha256, int8.modelSha256, references[0]!.sha256]),
    );
    for (const { sha256, shardSha256 } of references) {
      const shard = decodeShard(await ctx.blobs.read(shardSha256));
      const reference = decodeReference(await ctx.blobs.read(sha256));
      expect(reference).toMatchObject({ bundleSha256: int8.bundleSha256, shardSha256 });
      expect(reference.top1.length).toBe(shard.sampleIds.length);
    }
  });

  it("is imported twice without a change, and refused with other content", async () => {
    const before = (await get("/v1/models/tiny")).body;
    expect((await importModel("1")).status).toBe(201);
    const other = tinyModelBytes({ weights: new Float32Array(72).fill(0.25) });
    expect(await importModel("1", { onnx: other })).toMatchObject({
      status: 409,
      body: { code: "conflict" },
    });
    expect((await get("/v1/models/tiny")).body).toEqual(before);
  });

  it("is stored once when it is imported twice at the same time", async () => {
    const both = await Promise.all([1, 2].map(() => importModel("1", { model: "twice" })));
    expect(both.map(({ status }) => status)).toEqual([201, 201]);
    expect(both[0]?.body).toEqual(both[1]?.body);
    const { events } = (await get("/v1/events?subject=twice")).body;
    expect(events).toHaveLength(1);

    const weights = [0.25, 0.5].map((value) => new Float32Array(72).fill(value));
    const onnx = weights.map((values) => tinyModelBytes({ weights: values }));
    const rivals = onnx.map((bytes) => importModel("2", { model: "twice", onnx: bytes }));
    const answers = await Promise.all(rivals);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
    const stored = (await get("/v1/models/twice/versions/2")).body;
    expect(stored).toEqual(answers.find(({ status }) => status === 201)?.body);
  });

  it("gets an interface of its own when the operator gives none", async () => {
    const { "x.npy": _image, ...rest } = tinyGolden();
    const { encodeNpy } = await import("../../shared/evaluation/npy.ts");
    const data = new Uint8Array(300 * 64 * 4);
    const image = encodeNpy({ dtype: "float32", shape: [300, 1, 8, 8], data });
    const { body } = await importModel("1", {
      model: "plain",
      golden: { ...rest, "x.npy": image },
      interface: null,
    });
    expect(body.interface).toMatchObject({
      inputs: [{ tensor: "x", sample: { dtype: "float32", shape: [1, 8, 8] }, steps: [] }],
      output: { kind: "classification", tensor: "y", labels: ["0", "1", "2", "3"] },
    });
  });

  it("is judged by agreement with itself when there are no labels", async () => {
    const golden = tinyGolden({ count: 20, metric: "agreement" });
    const output = { kind: "tensors", tensors: ["y"] };
    const interfaceOf = { ...tinyInterface, output };
    expect(
      (await importModel("1", { model: "unlabelled", golden, interface: interfaceOf })).status,
    ).toBe(201);
    const { body: job } = await post("/v1/models/unlabelled/versions/1/compress", {
      recipes: ["fp32-clean", "int8-static"],
    });
    expect((await jobEnd(job.id)).status).toBe("done");
    const { variants } = (await get("/v1/models/unlabelled/versions/1/variants")).body;
    const values = variants.map(
      (each: { evaluation: { metric: string; sealed: { value: number } } }) => each.evaluation,
    );
    expect(values[0]).toMatchObject({ metric: "agreement", sealed: { n: 8 } });
    expect(values[0].sealed.value).toBeCloseTo(1, 5);
    expect(values[1].sealed.value).toBeGreaterThan(0.95);
    expect(values[1].sealed.value).toBeLessThan(1);
  });
});

/** A model that declares 3 GB and stores nothing. */
function hugeModel(): Uint8Array<ArrayBuffer> {
  const proto = tinyClassifier();
  const [first, ...rest] = proto.graph!.initializer;
  const huge = { ...first!, dims: [1n, 805_306_368n], rawData: new Uint8Array(0) };
  return encodeModel({ ...proto, graph: { ...proto.graph!, initializer: [huge, ...rest] } });
}

function cyclicModel(): Uint8Array<ArrayBuffer> {
  const proto = tinyClassifier();
  const node = [
    makeNode({ opType: "Add", inputs: ["x", "v"], outputs: ["u"] }),
    makeNode({ opType: "Relu", inputs: ["u"], outputs: ["v"] }),
    ...proto.graph!.node,
  ];
  return encodeModel({ ...proto, graph: { ...proto.graph!, node } });
}

describe("what may not be imported has a code and changes nothing", () => {
  const cases: readonly [string, string, () => Parameters<typeof importModel>[1]][] = [
    ["a truncated file", "onnx-truncated", () => ({ onnx: tinyModelBytes().slice(0, -100) })],
    ["a cycle", "onnx-cycle", () => ({ onnx: cyclicModel() })],
    ["a tensor of 3 GB", "onnx-too-large", () => ({ onnx: hugeModel() })],
    [
      "NaN weights",
      "onnx-not-finite",
      () => ({ onnx: tinyModelBytes({ weights: new Float32Array(72).fill(Number.NaN) }) }),
    ],
    ["samples of another size", "golden-mismatch", () => ({ golden: tinyGolden({ side: 9 }) })],
    [
      "steps that do not lead to the input",
      "golden-mismatch",
      () => ({
        interface: { ...tinyInterface, inputs: [{ ...tinyInterface.inputs[0]!, steps: [] }] },
      }),
    ],
    [
      "labels beyond the classes",
      "golden-mismatch",
      () => ({
        interface: { ...tinyInterface, output: { ...tinyInterface.output, labels: ["a", "b"] } },
      }),
    ],
    ["too few samples", "golden-invalid", () => ({ golden: tinyGolden({ count: 9 }) })],
    [
      "a golden set with a missing file",
      "golden-invalid",
      () => {
        const { "labels.npy": _labels, ...golden } = tinyGolden();
        return { golden };
      },
    ],
  ];

  const everything = async () => ({
    models: (await get("/v1/models")).body,
    goldenSets: (await get("/v1/golden-sets")).body,
    events: (await get("/v1/events")).body,
  });

  it.each(cases)("%s: %s", async (_, code, bad) => {
    const before = await everything();
    const { status, body } = await importModel("bad", { model: "bad", ...bad() });
    expect(body).toMatchObject({ code, remedy: expect.any(String) });
    expect(status).toBe(errorFacts[code as keyof typeof errorFacts].status);
    expect(await everything()).toEqual(before);
  });

  it("an upload that is not what its name says", async () => {
    const before = await listBlobs(controller.ctx.db);
    const path = `/v1/blobs/${"0".repeat(64)}`;
    const answer = await send("PUT", path, new Uint8Array(10), "application/octet-stream");
    expect(answer).toMatchObject({ status: 422, body: { code: "artifact-mismatch" } });
    expect(await listBlobs(controller.ctx.db)).toEqual(before);
    expect(await controller.ctx.blobs.size("0".repeat(64))).toBeUndefined();
  });
});

describe("the API", () => {
  it.each([
    ["no token", {}],
    ["a wrong token", { authorization: "Bearer nonsense" }],
  ])("refuses %s", async (_, headers) => {
    const response = await fetch(`${controller.httpUrl}/v1/devices`, { headers });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ code: "unauthorized" });
  });

  it("names the field that is wrong", async () => {
    const { status, body } = await post("/v1/rollouts", { model: "Not A Name", version: "1" });
    expect(status).toBe(400);
    expect(body).toMatchObject({
      code: "input-invalid",
      message: expect.stringContaining("model"),
    });
  });

  it("has codes for broken JSON, unknown paths and too long bodies", async () => {
    expect((await send("POST", "/v1/rollouts", "{")).body.code).toBe("json-invalid");
    expect(await get("/v1/nothing")).toMatchObject({ status: 404, body: { code: "not-found" } });
    const badUrl = await get("/v1/devices/%E0%A4%A");
    expect(badUrl).toMatchObject({
      status: 400,
      body: { code: "input-invalid", remedy: expect.any(String) },
    });
    const bytes = new Uint8Array(10);
    const route = "/v1/models/tiny/versions/1/compress";
    expect(await send("POST", route, bytes, "application/octet-stream")).toMatchObject({
      status: 400,
      body: { code: "input-invalid" },
    });
    const long = JSON.stringify({ yaml: "x".repeat(5_000_000) });
    expect(await send("POST", "/v1/classes/check", long)).toMatchObject({
      status: 413,
      body: { code: "too-large" },
    });
  });

  it("says which fault an edited classes file has, and changes nothing", async () => {
    const before = (await get("/v1/classes")).body;
    const bad = await post("/v1/classes/check", { yaml: "classes: [{ name: x }]" });
    expect(bad).toMatchObject({ status: 400, body: { code: "config-invalid" } });
    const notYaml = await post("/v1/classes/check", { yaml: "classes: [" });
    expect(notYaml).toMatchObject({ status: 400, body: { code: "config-invalid" } });
    expect((await post("/v1/classes/check")).status).toBe(200);
    expect((await get("/v1/classes")).body).toEqual(before);
  });

  it("stores the token as a hash only", async () => {
    const rows = await controller.ctx.db.selectFrom("apiTokens").selectAll().execute();
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain(token);
  });

  it("describes itself as valid OpenAPI 3.1, with every error code", async () => {
    const response = await fetch(`${controller.httpUrl}/openapi.json`);
    const text = await response.text();
    const document = JSON.parse(text);
    const result = await new Validator().validate(document);
    expect(result.errors ?? []).toEqual([]);
    expect(result.valid).toBe(true);
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(Object.keys(document.paths)).toContain("/v1/models/{model}/versions/{version}/compress");
    expect(document.paths["/v1/blobs/{sha256}"].put.requestBody.content).toHaveProperty(
      "application/octet-stream",
    );
    for (const code of Object.keys(errorFacts)) expect(text).toContain(`"${code}"`);
    for (const name of Object.keys(routes)) expect(text).toContain(`"operationId":"${name}"`);
  });
});

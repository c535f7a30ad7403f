/**
 * A model of text, from import to a label for a sentence: a golden set in two languages, a tokenizer in the
 * bundle, a real controller, a real agent and real ONNX files. What does not fit is refused before anything
 * is stored or served.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import { slotDir } from "../../agent/paths.ts";
import type { RunningController } from "../../controller/controller.ts";
import { runCompress } from "../../controller/jobs/compress-job.ts";
import { importVersion } from "../../controller/models/import.ts";
import { getLabelRequest } from "../../controller/soak/labels.ts";
import { findVersion } from "../../controller/storage/models/repository.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { textSample } from "../../shared/inference/processing/text.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import { changedManifest, claimFor, deviceDir, offer } from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import {
  textBytes,
  textGolden,
  textInterface,
  textModelBytes,
  tokenizerBytes,
} from "../helpers/text-classifier.ts";

const device = "speaker-1";
const model = "commands";
const { folder, remove } = temporaryFolder();
let controller: RunningController;
let agent: RunningAgent;

beforeAll(async () => {
  controller = await startTestController(deviceDir(folder, "controller"));
  agent = await startTestAgent({
    dataDir: deviceDir(folder, device),
    claimToken: await claimFor(controller.ctx, device),
  });
}, 120_000);
afterAll(async () => {
  await agent?.stop();
  await controller?.stop();
  remove();
});

async function take(
  version: string,
  change: { modelBytes?: Uint8Array; tokenizer?: Uint8Array | null; golden?: object } = {},
) {
  const { ctx } = controller;
  const files: Record<string, string> = {};
  const golden = { ...textGolden(), ...change.golden };
  for (const [name, bytes] of Object.entries(golden)) files[name] = await ctx.blobs.put(bytes);
  const { tokenizer = tokenizerBytes() } = change;
  const assets = tokenizer === null ? {} : { "tokenizer.json": await ctx.blobs.put(tokenizer) };
  return importVersion(ctx, {
    model,
    version,
    sourceSha256: await ctx.blobs.put(change.modelBytes ?? textModelBytes()),
    golden: { manifest: "golden.json", files },
    interface: textInterface,
    assets,
  });
}

async function infer(body: string, type = "text/plain") {
  const answer = await fetch(`${agent.serveUrl}/v1/models/${model}/infer`, {
    method: "POST",
    headers: { "content-type": type },
    body,
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}
const json = (body: unknown) => infer(JSON.stringify(body), "application/json");

describe("a model of text", () => {
  it("is refused when tokenizer, embedding and samples do not fit, and nothing is stored", async () => {
    const refused = (change: Parameters<typeof take>[1], code: string, why: RegExp) =>
      expect(take("0", change)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(why),
      });
    await refused(
      { modelBytes: textModelBytes(10) },
      "golden-mismatch",
      /ids up to 21, the embedding of input ids has 10 rows/,
    );
    await refused({ tokenizer: tokenizerBytes({ model: {} }) }, "tokenizer-invalid", /model/);
    const latin = textGolden()["texts.npy"]!.map((byte) => (byte === 0xc3 ? 0xfc : byte));
    await refused({ golden: { "texts.npy": latin } }, "golden-mismatch", /sample \d+ .* UTF-8/);
    await refused({ tokenizer: null }, "artifact-missing", /tokenizer\.json, which was not sent/);
    expect(await findVersion(controller.ctx.db, model, "0")).toBeUndefined();
  });

  it("goes from import to a label, with its tokenizer beside it", async () => {
    const { ctx } = controller;
    const { assets } = await take("1");
    expect(assets).toMatchObject([{ name: "tokenizer.json", bytes: tokenizerBytes().byteLength }]);
    const input = { model, version: "1", recipes: ["int8-weights"] };
    await runCompress(ctx, input, new AbortController().signal, async () => {});
    const variant = await ctx.db
      .selectFrom("variants")
      .selectAll()
      .where("model", "=", model)
      .executeTakeFirstOrThrow();
    expect(variant).toMatchObject({ status: "ready", reason: null });
    const bundleSha256 = variant.bundleSha256 ?? "";
    const target = { device, bundleSha256, releaseCounter: 1 };
    const { signed } = await changedManifest(ctx, target);
    expect(signed).toMatchObject({ agentMin: "0.3.0" });

    const manifest = await changedManifest(ctx, target);
    const outcome = await offer(controller, { attempt: "first", device, model, manifest });
    expect(outcome).toMatchObject({ outcome: "committed", servingSha256: bundleSha256 });
    expect(outcome.why).toMatch(/worst slice "de": 9\d\.\d\d %/);

    const slot = slotDir(deviceDir(folder, device), model, "a");
    expect(readdirSync(slot).sort()).toEqual(["bundle.json", "model.onnx", "tokenizer.json"]);
    expect(new Uint8Array(readFileSync(join(slot, "tokenizer.json")))).toEqual(tokenizerBytes());
  });

  it("answers text, in any of three ways", async () => {
    const asText = await infer("LICHT in die Küche, bitte!");
    expect(asText).toMatchObject({ status: 200, body: { label: "light", index: 0 } });
    expect(await infer("Will it rain?")).toMatchObject({ body: { label: "weather" } });
    const text = "Spiel ein Lied";
    const asJson = await json({ text });
    expect(asJson).toMatchObject({ status: 200, body: { label: "music" } });
    expect((await json({ inputs: { ids: text, mask: text } })).body).toEqual(asJson.body);
  });

  it("refuses what is no text for it with a code", async () => {
    const invalid = { status: 400, body: { code: "input-invalid" } };
    expect(await infer("ü".repeat(49))).toMatchObject(invalid);
    expect(await json({ text: 7 })).toMatchObject(invalid);
    expect(await json({ text: "rain", inputs: {} })).toMatchObject(invalid);
    expect(await json({})).toMatchObject(invalid);
    expect(await json({ inputs: { ids: "rain" } })).toMatchObject({
      status: 400,
      body: { code: "golden-mismatch" },
    });
  });

  it("shows a person the text that a device wants a label for", async () => {
    const { ctx } = controller;
    const shown = async (id: string, sample: Uint8Array) => {
      const { inputs } = textInterface;
      const base64 = Buffer.from(sample).toString("base64");
      await ctx.db
        .insertInto("labelRequests")
        .values({
          ...{ id, attempt: "first", sample: id, device, model, version: "1" },
          ...{ freshIndex: 0, runningIndex: 1, status: "open", labelIndex: null },
          inputsJson: JSON.stringify(Object.fromEntries(inputs.map((i) => [i.tensor, base64]))),
          ...{ requestedAtMs: 1, answeredAtMs: null },
        })
        .execute();
      const { texts } = await getLabelRequest(ctx, id);
      return [...new Set(Object.values(texts))];
    };
    const text = "Spiel ein Lied, Müsli\u001b[2J\u009b";
    expect(await shown("said", textSample(text, textBytes)!)).toEqual([text]);
    expect(await shown("noise", Uint8Array.of(0xff, 0xfe))).toEqual([]);
    const { out } = await fleetfitCommand(
      ["label", "show", "said"],
      deviceDir(folder, "controller"),
    );
    expect(out).toContain('"Spiel ein Lied, Müsli\\u001b[2J\\u{9b}"');
  });

  it("does not serve with a tokenizer that was changed on the disk", async () => {
    await agent.stop();
    const slot = slotDir(deviceDir(folder, device), model, "a");
    const other = JSON.stringify({ truncation: { direction: "Left" } });
    writeFileSync(join(slot, "tokenizer.json"), tokenizerBytes(JSON.parse(other)));
    agent = await startTestAgent({ dataDir: deviceDir(folder, device) });
    expect(await infer("rain")).toMatchObject({ status: 404, body: { code: "model-missing" } });
  });

  it("is not fetched by an agent that is too old for it", async () => {
    const { bundleSha256 } = await controller.ctx.db
      .selectFrom("variants")
      .select("bundleSha256")
      .where("model", "=", model)
      .executeTakeFirstOrThrow();
    const target = { device, bundleSha256: bundleSha256 ?? "", releaseCounter: 2 };
    const change: Partial<Manifest> = { agentMin: "99.0.0" };
    const manifest = await changedManifest(controller.ctx, target, change);
    const outcome = await offer(controller, { attempt: "old", device, model, manifest });
    expect(outcome).toMatchObject({ code: "manifest-foreign" });
    expect(outcome.why).toMatch(/needs agent 99\.0\.0/);
  });
});

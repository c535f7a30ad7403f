/** Facts in a real database to stored choices: which facts count, and that the last one decides at once. */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { ControllerContext } from "../../controller/context.ts";
import { parseClasses } from "../../controller/fleet/classes.ts";
import { onMeasurement } from "../../controller/measure/service.ts";
import { listChoices } from "../../controller/plan/service.ts";
import { type Database, openDatabase } from "../../controller/storage/database.ts";
import { openSystemSqlite } from "../../shared/adapters/system-sqlite.ts";
import type { Envelope } from "../../shared/protocol/message.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";

const classes = parseClasses(`
classes:
  - name: gateway
    summary: all
    match: {}
    budget: { metricFloor: 0.9 }
    recipes: [fp32, int8]
    objective: size
`);
const version = { model: "digits", version: "1" };
const bundles = { fp32: "a".repeat(64), int8: "b".repeat(64) };
type Recipe = keyof typeof bundles;

let db: Database;
let ctx: ControllerContext;
let nowMs = 1_000;

beforeEach(async () => {
  db = await openDatabase(openSystemSqlite(":memory:"), 0);
  // Nothing else of the context is used on this way.
  ctx = {
    db,
    clock: { wallMs: () => nowMs++ },
    config: { alphaDevice: 0.001 },
    fleet: { classes, regions: [], recipes: [] },
  } as unknown as ControllerContext;
  await addVersion();
  for (const id of ["real", "imitated"]) await addDevice(id);
});
afterEach(() => db.destroy());

const score = { value: 0.97, low: 0.96, high: 0.98, n: 5_000 };
const evaluation = {
  metric: "top-1",
  selection: score,
  sealed: score,
  worse: 0,
  better: 0,
  ramPeakBytes: 1,
  loadMs: 1,
};

async function addVersion(): Promise<void> {
  for (const recipe of ["fp32", "int8"] as const) {
    await db
      .insertInto("variants")
      .values({
        ...version,
        id: recipe,
        recipe,
        recipeSha256: recipe,
        status: "ready",
        reason: null,
        bundleSha256: bundles[recipe],
        bundleBytes: 1,
        modelSha256: bundles[recipe],
        modelBytes: recipe === "int8" ? 1_000 : 4_000,
        opset: 13,
        evaluationJson: JSON.stringify(evaluation),
        createdAtMs: 0,
      })
      .execute();
  }
}

const isImitated = (device: string) => device.startsWith("imitated");

async function addDevice(id: string, profile = {}): Promise<void> {
  await db
    .insertInto("devices")
    .values({
      id,
      publicKeyJson: "{}",
      passwordSha256: "",
      region: "eu",
      labelsJson: "{}",
      deviceClass: "gateway",
      profileJson: JSON.stringify(profile),
      fingerprint: "",
      emulated: isImitated(id) ? 1 : 0,
      agentVersion: "0",
      standing: "active",
      standingReason: null,
      session: 1,
      boot: null,
      online: 1,
      lastSeenAtMs: null,
      desiredRevision: 0,
      reportedJson: null,
      createdAtMs: 0,
    })
    .execute();
}

async function want(device: string, recipe: Recipe): Promise<string> {
  const id = `m-${device}-${recipe}-${nowMs}`;
  await db
    .insertInto("measurements")
    .values({
      ...version,
      id,
      device,
      deviceClass: "gateway",
      bundleSha256: bundles[recipe],
      manifestJson: "{}",
      status: "wanted",
      failureJson: null,
      createdAtMs: nowMs,
      finishedAtMs: null,
    })
    .execute();
  return id;
}

interface Answer {
  readonly measurement: string;
  readonly recipe: Recipe;
  readonly device?: string;
  readonly accuracy?: number;
  readonly busy?: boolean;
  readonly failure?: { code: string; why: string };
}

function answer(trx: Database, given: Answer) {
  const { measurement, recipe, device = "real", accuracy = 0.97, failure = null } = given;
  const fact = (metric: "golden-metric" | "latency-p50-ms" | "ram-peak-bytes", value: number) => ({
    metric,
    value,
    interval: [value - 0.02, value + 0.02] as [number, number],
    n: 500,
  });
  const payload: PayloadOf<"measurement"> = {
    measurement,
    model: "digits",
    bundleSha256: bundles[recipe],
    fingerprint: device,
    emulated: isImitated(device),
    environmentDegraded: given.busy ?? false,
    facts:
      failure === null
        ? [fact("golden-metric", accuracy), fact("latency-p50-ms", 1), fact("ram-peak-bytes", 9)]
        : [],
    failure,
  };
  return onMeasurement(ctx, trx, { device } as Envelope, payload);
}

const give = (given: Answer) => db.transaction().execute((trx) => answer(trx, given));
const choices = () => listChoices(ctx, version);

it("chooses with the last answer, in its transaction", async () => {
  const [first, last] = [await want("real", "fp32"), await want("real", "int8")];
  await give({ measurement: first, recipe: "fp32" });
  expect(await choices()).toEqual([]);
  const cutOff = db.transaction().execute(async (trx) => {
    await answer(trx, { measurement: last, recipe: "int8" });
    throw new Error("cut off");
  });
  await expect(cutOff).rejects.toThrow("cut off");
  expect(await choices()).toEqual([]);
  // What has to be published afterwards is never called here: the choice is stored all the same.
  await give({ measurement: last, recipe: "int8" });
  expect(await choices()).toMatchObject([{ deviceClass: "gateway", recipe: "int8" }]);
});

it("does not choose what the device itself found too bad", async () => {
  const [first, last] = [await want("real", "fp32"), await want("real", "int8")];
  await give({ measurement: first, recipe: "fp32" });
  await give({ measurement: last, recipe: "int8", accuracy: 0.8 });
  const [choice] = await choices();
  expect(choice?.recipe).toBe("fp32");
  expect(choice?.reasons.find(({ recipe }) => recipe === "int8")?.why).toMatch(/80\.00 % on real/);
});

it("says why nothing was measured when the device failed", async () => {
  const failure = { code: "runner-crashed", why: "the model's process ended" };
  await give({ measurement: await want("real", "int8"), recipe: "int8", failure });
  const [choice] = await choices();
  expect(choice).toMatchObject({ recipe: null, bundleSha256: null });
  expect(choice?.reasons.find(({ recipe }) => recipe === "int8")?.why).toMatch(
    /could measure it: runner-crashed: the model's process ended/,
  );
});

it("believes real hardware before emulated, a steady machine before a busy one, then the newest", async () => {
  const measure = async (given: Omit<Answer, "measurement" | "recipe">) => {
    const measurement = await want(given.device ?? "real", "int8");
    await give({ measurement, recipe: "int8", ...given });
    return (await choices())[0];
  };
  expect(await measure({ device: "imitated" })).toMatchObject({ recipe: "int8", emulated: true });
  expect(await measure({ accuracy: 0.8, busy: true })).toMatchObject({ recipe: null });
  expect(await measure({ device: "imitated" })).toMatchObject({ recipe: null });
  expect(await measure({})).toMatchObject({ recipe: "int8", emulated: false });
  expect(await measure({ accuracy: 0.8, busy: true })).toMatchObject({ recipe: "int8" });
  expect(await measure({ accuracy: 0.8 })).toMatchObject({ recipe: null });
});

it("believes what was foretold for a class's processor until a device with it measured the file", async () => {
  const row = db.updateTable("variants").where("recipe", "=", "int8");
  const foretold = {
    processor: "avx2",
    outcome: "foretold",
    score: { value: 0.7, low: 0.63, high: 0.76, n: 200 },
    worse: 50,
    better: 1,
  };
  await row
    .set({ evaluationJson: JSON.stringify({ ...evaluation, foretold: [foretold] }) })
    .execute();
  const answerOf = async (device: string) => {
    await give({ measurement: await want(device, "int8"), recipe: "int8", device });
    return (await choices())[0];
  };
  // Without an AVX2 in the class it says nothing, nor where a device only imitates one.
  expect(await answerOf("real")).toMatchObject({ recipe: "int8" });
  await addDevice("imitated-avx2", { architecture: "x64", isa: ["avx2"] });
  const excluded = await answerOf("real");
  expect(excluded).toMatchObject({ recipe: null });
  expect(excluded?.reasons.find(({ recipe }) => recipe === "int8")?.why).toMatch(
    /^on x86 without VNNI its accuracy of 70\.00 % is below the class's floor of 90\.00 %/,
  );
  expect(await answerOf("imitated-avx2")).toMatchObject({ recipe: null });
  await addDevice("avx2", { architecture: "x64", isa: ["avx2"] });
  expect(await answerOf("avx2")).toMatchObject({ recipe: "int8" });
});

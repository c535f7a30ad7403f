/**
 * What operators cost on a device, from the question to the times that are foretold with the answer: a real
 * agent and a real controller. No time is judged here.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import { costProbes } from "../../controller/compress/cost/probes.ts";
import type { RunningController } from "../../controller/controller.ts";
import { costsOf, orderCosts } from "../../controller/measure/costs.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { generateKeyPair } from "../../shared/artifact/signature.ts";
import type { Processes } from "../../shared/ports/processes.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import { claimFor, deviceDir, prepareTinyModel } from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const device = "cam-1";
const { folder, remove } = temporaryFolder();
let controller: RunningController;
let agent: RunningAgent;
let other: RunningAgent | undefined;
/** A child that is asked for times never hears of it. */
let isHeld = false;
let asked = 0;

const processes: Processes = {
  fork(entry, options) {
    const child = systemProcesses().fork(entry, options);
    return {
      ...child,
      send(message) {
        const isCosts = (message as { call?: string }).call === "time-costs";
        if (isCosts) asked++;
        return isCosts && isHeld ? true : child.send(message);
      },
    };
  },
};

/** Those that the steps are read from, and one of each other operator. */
const probes = costProbes().filter(({ operator, channels }) =>
  operator === "conv-3x3" ? [16, 56, 62, 64].includes(channels) : channels <= 32,
);

async function startAgent(claimToken?: string): Promise<void> {
  const token = claimToken === undefined ? {} : { claimToken };
  agent = await startTestAgent({
    dataDir: deviceDir(folder, device),
    ports: { processes },
    ...token,
  });
  await until("the device to be online", async () =>
    (await row()).online === 1 ? true : undefined,
  );
}
const row = (id = device) =>
  controller.ctx.db
    .selectFrom("devices")
    .selectAll()
    .where("id", "=", id)
    .executeTakeFirstOrThrow();
const answered = (id = device) =>
  until("the answer", async () => {
    const known = await costsOf(controller.ctx, await row(id));
    return known.pending ? undefined : known;
  });
const isAsked = (times: number) =>
  until("the child to be asked", async () => (asked === times ? true : undefined));

const fleetfit = (...args: string[]) => fleetfitCommand(args, deviceDir(folder, "controller"));

beforeAll(async () => {
  controller = await startTestController(deviceDir(folder, "controller"));
  await prepareTinyModel(controller.ctx, "digits", "1");
  await startAgent(await claimFor(controller.ctx, device));
}, 120_000);
afterAll(async () => {
  await agent?.stop();
  await other?.stop();
  await controller?.stop();
  remove();
});

it("goes on with the question that a stop cut off, and answers it", async () => {
  isHeld = true;
  await orderCosts(controller.ctx, device, probes);
  await orderCosts(controller.ctx, device, probes);
  await isAsked(1);
  await agent.stop();
  isHeld = false;
  await startAgent();
  const { measured, failure } = await answered();
  expect(failure).toBeNull();
  expect(asked).toBe(2);
  const { fingerprint } = await row();
  expect(measured).toMatchObject({ device, fingerprint, emulated: false });
  const subjects = ({ operator, type, channels, pixels }: (typeof probes)[number]) => {
    return { operator, type, channels, pixels };
  };
  expect(measured!.table.entries).toMatchObject(probes.map(subjects));
}, 120_000);

it("shows the table, the steps of channels and the times foretold with it", async () => {
  const shown = await fleetfit("device", "costs", device);
  expect(shown.exitCode, shown.err).toBe(0);
  expect(shown.out).toMatch(/operator +│ type/);
  expect(shown.out).toMatch(/conv-3x3 +│ float32 │ 64 /);
  expect(shown.out).toMatch(/float channels +in blocks of (8|16)/);
  const compressed = ["compress", "digits", "1", "--recipe", "fp32-clean", "--no-measure"];
  const told = await fleetfit(...compressed);
  expect(told.out).toContain(`foretold from the operators of ${device}`);
  const { foretold } = JSON.parse((await fleetfit(...compressed, "--json")).out);
  const { deviceClass } = await row();
  expect(foretold).toMatchObject([{ deviceClass, costs: { device, emulated: false } }]);
  const [variant] = foretold[0].variants;
  expect(variant).toMatchObject({ recipe: "fp32-clean", measuredMs: null, notCovered: [] });
  expect(variant.foretoldMs).toBeGreaterThan(0);
});

it("gives up a question that takes the device with it each time, and keeps what it knew", async () => {
  isHeld = true;
  asked = 0;
  await orderCosts(controller.ctx, device, probes);
  for (const time of [1, 2, 3]) {
    await isAsked(time);
    await agent.stop();
    await startAgent();
  }
  const { failure, measured } = await answered();
  expect(failure?.code).toBe("interrupted");
  expect(asked).toBe(3);
  expect(measured).not.toBeNull();
}, 120_000);

it("takes no order that the controller did not sign, and times nothing for it", async () => {
  asked = 0;
  const stranger = { ...controller.ctx, signingKey: generateKeyPair() };
  await orderCosts(stranger, device, probes);
  expect((await answered()).failure?.code).toBe("signature-invalid");
  expect(asked).toBe(0);
});

it("asks no device that is away", async () => {
  await agent.stop();
  await until("the device to be away", async () => ((await row()).online === 0 ? true : undefined));
  const { exitCode, err } = await fleetfit("device", "costs", device, "--refresh");
  expect(exitCode).toBe(1);
  expect(err).toMatch(/conflict: cam-1 is offline/);
  await startAgent();
});

it("asks by itself for hardware that measures for the first time, and marks what is declared", async () => {
  isHeld = false;
  other = await startTestAgent({
    dataDir: deviceDir(folder, "cam-2"),
    claimToken: await claimFor(controller.ctx, "cam-2"),
    override: { architecture: "arm64", isa: ["asimddp"] },
  });
  await until("the second device to be online", async () => {
    const { devices } = JSON.parse((await fleetfit("device", "list", "--online", "--json")).out);
    return devices.length === 2 ? true : undefined;
  });
  const compressed = ["compress", "digits", "1", "--recipe", "fp32-clean", "--json"];
  const { exitCode, err } = await fleetfit(...compressed);
  expect(exitCode, err).toBe(0);
  // The command would ask, so the answer is looked for behind it.
  expect((await answered("cam-2")).measured).toMatchObject({ device: "cam-2" });
  const { foretold } = JSON.parse((await fleetfit(...compressed, "--no-measure")).out);
  expect(foretold).toHaveLength(2);
  const ofArm = foretold.find(
    ({ deviceClass }: { deviceClass: string }) => deviceClass === "arm-int8",
  );
  expect(ofArm.costs).toMatchObject({ device: "cam-2", emulated: true });
  expect(ofArm.variants[0].measuredMs).toBeGreaterThan(0);
}, 120_000);

/** The stages of a rollout that names none: who runs the release before a proof or a person allows the rest. */
import { expect, it } from "vitest";
import { stagesFor } from "../../../../controller/rollout/promise.ts";

const soak = { canarySoakMs: 60_000 };
const planned = (plan: Parameters<typeof stagesFor>[0]) =>
  stagesFor(plan, soak).map(({ name, gate }) => `${name} ${gate}`);

it("a fleet that can prove goes on by itself", () => {
  expect(planned({ judge: "e-process", replaces: true })).toEqual([
    "canary automatic",
    "early automatic",
    "wide automatic",
    "fleet automatic",
  ]);
});

it("a fleet that cannot prove waits for a person before everybody, unless the operator said otherwise", () => {
  const plan = { judge: "device-gates", replaces: true } as const;
  expect(planned(plan)).toEqual(["canary automatic", "early manual", "fleet automatic"]);
  expect(planned({ ...plan, gate: "automatic" })).toEqual([
    "canary automatic",
    "early automatic",
    "fleet automatic",
  ]);
});

it("a first version has nothing before it that it could be worse than", () => {
  expect(planned({ judge: "device-gates", replaces: false })).toEqual([
    "canary automatic",
    "fleet automatic",
  ]);
});

it("watches every stage before the last", () => {
  const stages = stagesFor({ judge: "e-process", replaces: true, gate: "manual" }, soak);
  expect(stages.map(({ soakMs }) => soakMs)).toEqual([60_000, 60_000, 60_000, 0]);
  expect(stages.map(({ gate }) => gate)).toEqual(["automatic", "automatic", "manual", "automatic"]);
});

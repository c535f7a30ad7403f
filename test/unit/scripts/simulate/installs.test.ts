/** The checker that judges where an install begins, over a database with the agent's own tables. */
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { watchInstalls } from "../../../../scripts/simulate/checks/installs.ts";
import type { NodeClock } from "../../../../scripts/simulate/world/time.ts";

let database: Database.Database;
let nowMs = 0;
let charge = 1;
const minuteMs = 60_000;
const rules = { windows: [{ fromMs: minuteMs, toMs: 2 * minuteMs }], batteryFractionMin: 0.5 };

beforeEach(() => {
  database = new Database(":memory:");
  database.exec(`create table attempts (id text, state text, outcomeJson text);
    create table holds (scope text, held integer, reason text);`);
  nowMs = 1.5 * minuteMs;
  charge = 1;
});
afterEach(() => database.close());

function watched() {
  const watch = watchInstalls({ time: { nowMs: () => nowMs }, rules, charge: () => charge });
  const plan = watch.of({ name: "device-1", readDatabase: (_path, look) => look(database) });
  const write = (name: string) =>
    plan({ number: 0, kind: "file", name, reads: false }, undefined as unknown as NodeClock);
  return { faults: watch.faults, write };
}
const slot = "/device/models/synthetic/b";
const begin = (id: string) =>
  database.prepare("insert into attempts values (?, 'installing', null)").run(id);
const hold = (held: number) =>
  database.prepare("insert into holds values ('region/x', ?, 'smoke')").run(held);

it("finds nothing wrong inside a window, on enough power, without a hold", () => {
  const { faults, write } = watched();
  begin("a-1");
  hold(0);
  write(`mkdir ${slot}`);
  expect(faults).toEqual([]);
});

it.each<[string, () => void, RegExp]>([
  ["a hold that the device knows", () => hold(1), /under the hold "smoke"/],
  [
    "a closed window",
    () => {
      nowMs = 2 * minuteMs;
    },
    /outside of its windows/,
  ],
  [
    "a battery below the floor",
    () => {
      charge = 0.4;
    },
    /battery at 0.4/,
  ],
])("tells of an install that begins under %s", (_what, make, told) => {
  const { faults, write } = watched();
  make();
  begin("a-1");
  write(`rename ${slot}/model.onnx`);
  expect(faults).toHaveLength(1);
  expect(faults[0]).toMatch(told);
});

it("judges an install where it begins, and nothing that is no install", () => {
  const { faults, write } = watched();
  begin("a-1");
  write(`mkdir ${slot}`);
  hold(1);
  write(`rename ${slot}/model.onnx`);
  database.exec("update attempts set outcomeJson = '{}'");
  write(`mkdir ${slot}`);
  write("open /device/stored/abc");
  expect(faults).toEqual([]);
  begin("a-2");
  write(`remove ${slot}`);
  expect(faults).toEqual([]);
  write(`mkdir ${slot}`);
  expect(faults).toHaveLength(1);
});

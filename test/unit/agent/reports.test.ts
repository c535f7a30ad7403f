/** When a device says what it runs: soon after each change, not too often, and nothing twice. */
import { describe, expect, it } from "vitest";
import { createReports } from "../../../agent/reports.ts";
import type { Log } from "../../../shared/ports/log.ts";
import { handClock } from "../../helpers/hand-clock.ts";

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

function reportsOf() {
  const clock = handClock();
  const said: string[] = [];
  let state = "idle";
  const reports = createReports(
    { clock, log: silent },
    { read: () => state, say: (text) => said.push(text) },
  );
  const become = (next: string) => {
    state = next;
  };
  return { clock, said, reports, become };
}

describe("reports", () => {
  it("say a change at once, and those that follow it in one after a pause", async () => {
    const { clock, said, reports, become } = reportsOf();
    reports.note();
    become("a");
    reports.note();
    become("b");
    reports.note();
    await clock.pass(299);
    expect(said).toEqual(["idle"]);
    await clock.pass(1);
    expect(said).toEqual(["idle", "b"]);
  });

  it("say progress seldom, and a result that comes meanwhile soon", async () => {
    const { clock, said, reports, become } = reportsOf();
    reports.note();
    become("downloading");
    reports.progressed();
    await clock.pass(1_999);
    expect(said).toEqual(["idle"]);
    await clock.pass(1);
    expect(said).toEqual(["idle", "downloading"]);
    become("trialing");
    reports.progressed();
    become("committed");
    reports.note();
    await clock.pass(300);
    expect(said).toEqual(["idle", "downloading", "committed"]);
    await clock.pass(10_000);
    expect(said.length).toBe(3);
  });

  it("say nothing any more once they have stopped, whatever changes while the rest goes down", async () => {
    const { clock, said, reports, become } = reportsOf();
    reports.note();
    become("a");
    reports.note();
    reports.stop();
    become("b");
    reports.note();
    reports.progressed();
    await clock.pass(10_000);
    expect(said).toEqual(["idle"]);
  });

  it("say the same again only to a controller that may know nothing", async () => {
    const { clock, said, reports } = reportsOf();
    reports.note();
    await clock.pass(5_000);
    reports.note();
    await clock.pass(5_000);
    expect(said).toEqual(["idle"]);
    reports.again();
    await clock.pass(5_000);
    expect(said).toEqual(["idle", "idle"]);
  });
});

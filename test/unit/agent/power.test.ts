/** What feeds a device, read from the kernel's files of the moment. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { powerReader } from "../../../agent/probe/power.ts";
import { systemFiles } from "../../../shared/adapters/system-files.ts";
import type { Files } from "../../../shared/ports/files.ts";
import { sampleProfile } from "../../helpers/sample-payloads.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "fleetfit-power-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Real files, with the folder in the place of /sys. */
function files(): Files {
  const real = systemFiles();
  const moved = (path: string) => path.replace(/^\/sys\/class\/power_supply/, folder);
  return {
    ...real,
    list: (path) => real.list(moved(path)),
    readRange: (path, range) => real.readRange(moved(path), range),
  };
}

function supply(name: string, facts: Record<string, string>): void {
  mkdirSync(join(folder, name), { recursive: true });
  for (const [fact, value] of Object.entries(facts)) {
    writeFileSync(join(folder, name, fact), `${value}\n`);
  }
}

const read = (override?: { power?: "battery"; batteryFraction?: number }) =>
  powerReader(files(), { probed: { ...sampleProfile, ...override }, override })();

describe("power", () => {
  it("is what it was at the start where the kernel lists nothing", async () => {
    expect(await read()).toEqual({ source: "battery", fraction: 0.5 });
  });
  it("follows the plug and the charge", async () => {
    supply("AC", { type: "Mains", online: "0" });
    supply("BAT0", { type: "Battery", status: "Discharging", capacity: "34" });
    expect(await read()).toEqual({ source: "battery", fraction: 0.34 });
    supply("AC", { online: "1" });
    expect(await read()).toEqual({ source: "mains", fraction: 0.34 });
  });
  it("is mains while a battery without a plug of its own charges", async () => {
    supply("BAT0", { type: "Battery", status: "Charging", capacity: "3" });
    expect(await read()).toEqual({ source: "mains", fraction: 0.03 });
  });
  it("takes the emptiest of several batteries and says when it cannot read one", async () => {
    supply("BAT0", { type: "Battery", status: "Discharging", capacity: "80" });
    supply("BAT1", { type: "Battery", status: "Discharging", capacity: "20" });
    expect(await read()).toEqual({ source: "battery", fraction: 0.2 });
    for (const name of ["BAT0", "BAT1"]) supply(name, { capacity: "often" });
    expect(await read()).toEqual({ source: "battery", fraction: null });
  });
  it("does not ask the battery of a mouse", async () => {
    supply("hid", { type: "Battery", scope: "Device", status: "Discharging", capacity: "9" });
    supply("AC", { type: "Mains", online: "1" });
    expect(await read()).toEqual({ source: "mains", fraction: null });
  });
  it("that is declared is not read from the machine underneath", async () => {
    supply("AC", { type: "Mains", online: "1" });
    expect(await read({ power: "battery", batteryFraction: 0.2 })).toEqual({
      source: "battery",
      fraction: 0.2,
    });
  });
});

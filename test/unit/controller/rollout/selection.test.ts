/** Who is in a stage: random but repeatable, in proportion to regions and classes, and how many at once. */
import { describe, expect, it } from "vitest";
import { roomIn, withOffers } from "../../../../controller/rollout/pacing.ts";
import {
  type Selectable,
  selectDevices,
  takesLatecomers,
} from "../../../../controller/rollout/selection.ts";
import { type Stage, stageSchema } from "../../../../shared/api/stages.ts";

type Select = Stage["select"];

function device(id: string, change: Partial<Selectable> = {}): Selectable {
  return {
    id,
    region: "eu",
    deviceClass: "camera",
    online: true,
    labelsJson: JSON.stringify({ site: `s${id.length}` }),
    profileJson: JSON.stringify({ cores: id.length, power: "mains", emulated: false }),
    ...change,
  };
}
/** 80 cameras in eu, 20 meters in us. */
const fleet = [
  ...Array.from({ length: 80 }, (_, at) => device(`c${at}`)),
  ...Array.from({ length: 20 }, (_, at) =>
    device(`m${at}`, { region: "us", deviceClass: "meter" }),
  ),
];
const ids = (select: Select, seed = "s", rest: readonly Selectable[] = fleet) =>
  selectDevices(select, { all: fleet, rest, seed }).map(({ id }) => id);
const parse = (select: unknown) => stageSchema.parse({ name: "x", select }).select;

describe("a selection", () => {
  it("is the same for one seed, another for another, and never the first by name", () => {
    const ten: Select = { by: "count", count: 10 };
    expect(ids(ten)).toEqual(ids(ten, "s", [...fleet].reverse()));
    expect(ids(ten)).not.toEqual(ids(ten, "t"));
    expect(ids(ten)).not.toEqual([...ids(ten)].sort());
  });
  it("takes each device about as often over many seeds", () => {
    const taken = new Map<string, number>();
    for (let seed = 0; seed < 400; seed++) {
      for (const id of ids({ by: "count", count: 10 }, `${seed}`))
        taken.set(id, (taken.get(id) ?? 0) + 1);
    }
    // 40 expected each; five standard deviations.
    for (const { id } of fleet) expect(Math.abs((taken.get(id) ?? 0) - 40)).toBeLessThan(30);
  });
  it("is spread over regions and classes in proportion", () => {
    for (const seed of ["a", "b", "c"]) {
      const meters = ids({ by: "percent", percent: 10 }, seed).filter((id) => id.startsWith("m"));
      expect(meters).toHaveLength(2);
    }
  });
  it("takes who is there before who is away, where it takes only some", () => {
    const away = fleet.map((each) => ({ ...each, online: each.id === "c7" || each.id === "m3" }));
    const first = selectDevices(
      { by: "per-class", count: 1 },
      { all: away, rest: away, seed: "s" },
    );
    expect(first.map(({ id }) => id).sort()).toEqual(["c7", "m3"]);
  });
  it("counts percent of the whole fleet though some are taken already", () => {
    expect(ids({ by: "percent", percent: 25 }, "s", fleet.slice(0, 60))).toHaveLength(25);
    expect(ids({ by: "percent", percent: 0.1 })).toHaveLength(1);
  });
  it.each<[string, unknown, number]>([
    ["regions", { by: "regions", regions: ["us", "zz"] }, 20],
    ["classes", { by: "classes", classes: ["camera"] }, 80],
    ["devices", { by: "devices", devices: ["c1", "zz"] }, 1],
    ["all", { by: "all" }, 100],
    ["part of a region", { by: "regions", regions: ["us"], limit: { percent: 10 } }, 2],
    ["some of a class", { by: "classes", classes: ["meter"], limit: { count: 3 } }, 3],
    ["labels", { by: "query", where: [{ field: "labels.site", equals: "s3" }] }, 80],
    ["no such label", { by: "query", where: [{ field: "labels.nope", equals: "" }] }, 0],
    [
      "all conditions",
      {
        by: "query",
        where: [
          { field: "region", oneOf: ["us", "ap"] },
          { field: "profile.cores", min: 3, max: 3 },
        ],
      },
      10,
    ],
    ["text is no number", { by: "query", where: [{ field: "profile.power", min: 0 }] }, 0],
    ["truth", { by: "query", where: [{ field: "profile.emulated", equals: false }] }, 100],
    [
      "a query with a limit",
      { by: "query", where: [{ field: "class", equals: "meter" }], limit: { percent: 50 } },
      10,
    ],
  ])("knows %s", (_what, select, count) => {
    expect(ids(parse(select))).toHaveLength(count);
  });
  it.each([
    { field: "labels.site" },
    { field: "id", equals: "x" },
    { field: "labels.__proto__", equals: "x" },
    { field: "region", equals: "eu", also: 1 },
  ])("refuses the condition %j", (condition) => {
    expect(() => parse({ by: "query", where: [condition] })).toThrow();
  });
  it("lets devices join later only where it takes all that it matches", () => {
    expect(takesLatecomers({ by: "all" })).toBe(true);
    expect(takesLatecomers({ by: "regions", regions: ["eu"] })).toBe(true);
    expect(takesLatecomers({ by: "per-class", count: 1 })).toBe(false);
    expect(takesLatecomers({ by: "percent", percent: 100 })).toBe(false);
    expect(takesLatecomers(parse({ by: "regions", regions: ["eu"], limit: { count: 1 } }))).toBe(
      false,
    );
  });
});

describe("the room for offers", () => {
  const load = {
    openByRegion: new Map([["eu", 3]]),
    openByLink: new Map([["satellite", 2]]),
    offeredLately: 3,
  };
  const free = { concurrentMax: null, concurrentPerLink: null, offersPerMinuteMax: null };
  const eu = { region: "eu", link: "satellite" };
  const us = { region: "us", link: "lan" };
  it("is bounded per region and per minute", () => {
    expect(roomIn(eu, { ...free, concurrentMax: 5 }, load)).toBe(2);
    expect(roomIn(us, { ...free, concurrentMax: 5 }, load)).toBe(5);
    expect(roomIn(us, { ...free, concurrentMax: 5, offersPerMinuteMax: 4 }, load)).toBe(1);
    expect(roomIn(eu, { ...free, concurrentMax: 2 }, load)).toBe(0);
    expect(roomIn(eu, free, load)).toBe(500);
  });
  it("is bounded per link, on each or on those that are named", () => {
    expect(roomIn(eu, { ...free, concurrentPerLink: 3 }, load)).toBe(1);
    expect(roomIn(us, { ...free, concurrentPerLink: 3 }, load)).toBe(3);
    expect(roomIn(eu, { ...free, concurrentPerLink: { satellite: 2 } }, load)).toBe(0);
    expect(roomIn(us, { ...free, concurrentPerLink: { satellite: 2 } }, load)).toBe(500);
    expect(roomIn(eu, { ...free, concurrentMax: 4, concurrentPerLink: 9 }, load)).toBe(1);
    const odd = { region: "us", link: "constructor" };
    expect(roomIn(odd, { ...free, concurrentPerLink: { satellite: 2 } }, load)).toBe(500);
  });
  it("shrinks with each offer", () => {
    const next = withOffers(load, us, 4);
    expect(roomIn(us, { ...free, concurrentMax: 5, offersPerMinuteMax: 8 }, next)).toBe(1);
    expect(roomIn(us, { ...free, concurrentPerLink: 5 }, next)).toBe(1);
    expect(load.openByRegion.has("us")).toBe(false);
  });
});

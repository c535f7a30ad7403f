/** The command line: help for everything, JSON for every listing, and how failures are told. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import type { CliIo } from "../../../../controller/cli/io.ts";
import { buildProgram, runCli } from "../../../../controller/cli/program.ts";
import { parseStage } from "../../../../controller/cli/stage-text.ts";

function testIo(change: Partial<CliIo> = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const ran: { entry: string; args: readonly string[] }[] = [];
  const io: CliIo = {
    out: (text) => out.push(text),
    err: (text) => err.push(text),
    interactive: false,
    env: {},
    async run(entry, args) {
      ran.push({ entry, args });
      return 0;
    },
    sleep: async () => {},
    ...change,
  };
  return { io, out, err, ran };
}

function leaves(command: Command, path: string[] = []): { path: string[]; command: Command }[] {
  if (command.commands.length === 0) return [{ path, command }];
  return command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
}

const commands = leaves(buildProgram(testIo().io)).map(({ path, command }) => ({
  name: path.join(" "),
  path,
  command,
}));

describe("every command", () => {
  it("exists", () => {
    const names = commands.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining([
        ...["controller start", "controller backup", "controller restore", "agent start", "demo"],
        ...["device list", "device show", "device claim", "device retire"],
        ...["model import", "model list", "model show", "compress", "job list", "job cancel"],
        ...["recipe list", "recipe show", "class list", "class show", "class check"],
        ...["rollout start", "rollout list", "rollout show"],
        ...["rollout pause", "rollout resume", "rollout abort"],
      ]),
    );
  });

  it.each(commands)("$name has help with an example that names it", async ({ name, path }) => {
    const { io, out } = testIo();
    expect(await runCli([...path, "--help"], io)).toBe(0);
    expect(out.join("\n")).toMatch(/^Usage: fleetfit/);
    expect(out.join("\n")).toContain(`$ fleetfit ${name}`);
  });

  it("prints JSON when asked, unless it hands over to another program", () => {
    const handsOver = ["controller start", "agent start", "demo"];
    for (const { name, command } of commands) {
      const hasJson = command.options.some(({ long }) => long === "--json");
      expect(hasJson, name).toBe(!handsOver.includes(name));
    }
  });
});

describe("handing over", () => {
  it("passes flags on as they are", async () => {
    const { io, ran } = testIo();
    const flags = ["--data-dir", "d", "--http-port", "0"];
    expect(await runCli(["controller", "start", ...flags], io)).toBe(0);
    expect(ran).toEqual([{ entry: "controller/main.ts", args: flags }]);
  });

  it("passes the exit code back", async () => {
    const { io } = testIo({ run: async () => 7 });
    expect(await runCli(["demo"], io)).toBe(7);
  });
});

describe("help of programs that are started", () => {
  it.each(["controller", "agent"])("%s start lists every flag of its program", async (program) => {
    const { io, out } = testIo();
    await runCli([program, "start", "--help"], io);
    const usage = readFileSync(new URL(`../../../../${program}/main.ts`, import.meta.url), "utf8");
    const flags = usage.match(/^ {2}--[a-z-]+/gm) ?? [];
    expect(flags.length).toBeGreaterThan(4);
    for (const flag of flags) expect(out.join("\n")).toContain(`${flag} `);
  });
});

describe("failures", () => {
  it.each([[["unknown"]], [["device", "claim"]], [["device", "list", "--wrong"]]])(
    "%j is wrong usage",
    async (args) => {
      const { io, err } = testIo();
      expect(await runCli(args, io)).toBe(2);
      expect(err.join("\n")).toMatch(/error:/);
    },
  );

  it("a controller that does not answer has a code and a remedy", async () => {
    const { io, err } = testIo({
      env: { FLEETFIT_URL: "http://127.0.0.1:9", FLEETFIT_TOKEN: "x" },
    });
    expect(await runCli(["device", "list"], io)).toBe(1);
    expect(err.join("\n")).toMatch(/^fleetfit: api-unreachable: .+ – Start the controller/);
  });

  it("a missing token is told before anything is sent", async () => {
    const { io, err } = testIo();
    const args = [
      "device",
      "list",
      "--url",
      "http://127.0.0.1:9",
      "--token-file",
      "does-not-exist",
    ];
    expect(await runCli(args, io)).toBe(1);
    expect(err.join("\n")).toMatch(/^fleetfit: unauthorized: /);
  });
});

describe("wrong values", () => {
  const claim = ["device", "claim", "--region", "eu-west"];
  it.each([
    [[...claim, "--label", "nonsense"], /key=value/],
    [[...claim, "--valid-minutes", "0"], /minutes above 0/],
    [["rollout", "start", "digits", "1", "--stage", "all"], /Selectors/],
  ])("%j says what is wrong", async (args, message) => {
    const { io, err } = testIo();
    expect(await runCli(args, io)).toBe(2);
    expect(err.join("\n")).toMatch(message);
  });

  it.each(["..", "", "a/b", "UPPER"])("the name %j never becomes part of a path", async (name) => {
    const env = { FLEETFIT_URL: "http://127.0.0.1:9", FLEETFIT_TOKEN: "x" };
    const { io, err } = testIo({ env });
    expect(await runCli(["device", "show", name], io)).toBe(1);
    expect(err.join("\n")).toMatch(/^fleetfit: input-invalid: /);
  });
});

describe("stages", () => {
  it.each([
    ["canary=per-class:1", { name: "canary", select: { by: "per-class", count: 1 } }],
    ["ten=count:10", { name: "ten", select: { by: "count", count: 10 } }],
    ["part=percent:25", { name: "part", select: { by: "percent", percent: 25 } }],
    [
      "eu=regions:eu-west,eu-north",
      { name: "eu", select: { by: "regions", regions: ["eu-west", "eu-north"] } },
    ],
    ["rest=all", { name: "rest", select: { by: "all" } }],
    [
      "some=regions:eu-west,us@10%",
      {
        name: "some",
        select: { by: "regions", regions: ["eu-west", "us"], limit: { percent: 10 } },
      },
    ],
    [
      "shop=query:labels.site=a|b,region=eu-west,profile.cores>=4@5;manual;soak=2h",
      {
        name: "shop",
        select: {
          by: "query",
          where: [
            { field: "labels.site", oneOf: ["a", "b"] },
            { field: "region", oneOf: ["eu-west"] },
            { field: "profile.cores", min: 4 },
          ],
          limit: { count: 5 },
        },
        gate: "manual",
        soakMs: 7_200_000,
      },
    ],
    [
      "slow=all;deadline=90s;concurrent=5;rate=60;retries=3",
      {
        name: "slow",
        select: { by: "all" },
        deadlineMs: 90_000,
        concurrentMax: 5,
        offersPerMinuteMax: 60,
        retryBudget: 3,
      },
    ],
    ["x=all;links=2", { name: "x", select: { by: "all" }, concurrentPerLink: 2 }],
    [
      "x=all;links=satellite:1|ship-7:3",
      { name: "x", select: { by: "all" }, concurrentPerLink: { satellite: 1, "ship-7": 3 } },
    ],
  ])("%s", (text, stage) => {
    expect(parseStage(text)).toEqual(stage);
  });

  it.each([
    "canary",
    "canary=some:1",
    "canary=count:0",
    "eu=regions:",
    "=all",
    "x=all;deadline=90",
    "x=all;toString=1",
    "x=query:serial=1",
    "x=regions:eu@0%",
    "x=all;links=0",
    "x=all;links=satellite:1|cellular",
  ])("%s is refused", (text) => {
    expect(() => parseStage(text)).toThrow(/Selectors/);
  });
});

/** Claims and devices. */
import { InvalidArgumentError } from "commander";
import type { DeviceAnswer, DeviceCostsAnswer } from "../../../shared/api/routes/devices.ts";
import { FleetError, isErrorCode } from "../../../shared/errors.ts";
import type { Client } from "../client.ts";
import { action, type CommandGroup, clientOf, query } from "../command.ts";
import type { CliIo } from "../io.ts";
import { facts, progress, show, table, time } from "../output.ts";
import { openSecretFile } from "../secret-file.ts";

const millisecondsPerMinute = 60_000;
/** How often a device that is asked is looked at, in ms. */
const pollMs = 500;

export const deviceCommands: CommandGroup = {
  add(program, io) {
    const device = program.command("device").description("devices and the tokens they enrol with");
    addList(device, io);
    addShow(device, io);
    addClaim(device, io);
    addCosts(device, io);
    action(device, "retire <device>", "end an identity for ever", [
      'device retire camera-1 --reason "broken lens"',
    ])
      .requiredOption("--reason <text>", "why, for the record")
      .action(async (id: string, options) => {
        const answer = await clientOf(io, options).call("retireDevice", {
          params: { device: id },
          body: { reason: options.reason },
        });
        show(io, options, answer, () => `${id} is retired; it never comes back under this name.`);
      });
  },
};

function addList(...[device, io]: Parameters<CommandGroup["add"]>): void {
  query(device, "list", "all devices with what they run", [
    "device list",
    "device list --region eu-west --class camera-arm",
    "device list --online --json",
  ])
    .option("--class <name>", "only devices of this class")
    .option("--region <name>", "only devices in this region")
    .option("--online", "only devices that are connected")
    .action(async (options) => {
      const answer = await clientOf(io, options).call("listDevices", {
        query: {
          class: options.class,
          region: options.region,
          ...(options.online ? { online: "true" } : {}),
        },
      });
      show(io, options, answer, ({ devices }) =>
        table(
          ["device", "class", "region", "state", "runs", "emulated", "last seen"],
          devices.map((each) => [
            each.id,
            each.deviceClass,
            each.region,
            stateOf(each),
            runs(each),
            each.emulated ? "yes" : "",
            time(each.lastSeenAtMs),
          ]),
          "No device has enrolled yet; `fleetfit device claim` makes a token for one.",
        ),
      );
    });
}

function addShow(...[device, io]: Parameters<CommandGroup["add"]>): void {
  query(device, "show <device>", "one device: hardware, class and why, updates", [
    "device show camera-1",
    "device show camera-1 --json",
  ]).action(async (id: string, options) => {
    const client = clientOf(io, options);
    const found = await client.call("getDevice", { params: { device: id } });
    const { attempts } = await client.call("listDeviceAttempts", { params: { device: id } });
    show(io, options, { ...found, attempts }, () =>
      [
        describe(found),
        table(
          ["class", "matches", "why not"],
          found.classes.map(({ deviceClass, matches, reasons }) => [
            deviceClass,
            matches ? "yes" : "no",
            reasons.join("; "),
          ]),
          "There are no device classes.",
        ),
        table(
          ["at", "model", "version", "recipe", "outcome", "why"],
          attempts.map((each) => [
            time(each.createdAtMs),
            each.model,
            each.version,
            each.recipe,
            each.outcome ?? each.status,
            each.why,
          ]),
          "It was not told to try anything yet.",
        ),
      ].join("\n\n"),
    );
  });
}

function addCosts(...[device, io]: Parameters<CommandGroup["add"]>): void {
  query(device, "costs <device>", "what operators cost on a device, timed there", [
    "device costs camera-1",
    "device costs camera-1 --refresh",
    "device costs camera-1 --json > camera-1.costs.json",
  ])
    .option("--refresh", "ask the device again, also when a table of its hardware is known")
    .action(async (id: string, options) => {
      const client = clientOf(io, options);
      const params = { device: id };
      const known = await client.call("getDeviceCosts", { params });
      const isAsked = options.refresh === true || known.measured === null;
      const answer = isAsked ? await askForCosts(client, io, params) : known;
      show(io, options, answer, describeCosts);
    });
}

/** Errors: those of the route, and what the device failed with. */
async function askForCosts(
  client: Client,
  io: CliIo,
  params: { device: string },
): Promise<DeviceCostsAnswer> {
  let answer = await client.call("orderDeviceCosts", { params, body: {} });
  const bar = progress(io, "costs");
  try {
    bar.set(0, `on ${params.device}`);
    while (answer.pending) {
      await io.sleep(pollMs);
      answer = await client.call("getDeviceCosts", { params });
    }
    bar.set(1, "done");
  } finally {
    bar.end();
  }
  const { failure } = answer;
  if (failure === null) return answer;
  throw new FleetError(isErrorCode(failure.code) ? failure.code : "job-failed", failure.why);
}

function describeCosts({ processor, measured, steps, pending }: DeviceCostsAnswer): string {
  if (measured === null) return pending ? "The device is being asked." : "There is no table.";
  const rows = measured.table.entries.map(({ operator, type, channels, pixels, timeNs }) => [
    operator,
    type,
    channels,
    pixels,
    (timeNs / 1_000).toFixed(2),
  ]);
  return [
    facts([
      ["measured on", `${measured.device}, ${time(measured.measuredAtMs)}`],
      ["processor", processor.cpuModel],
      ["int8 instructions", processor.isa.join(" ")],
      ["emulated", measured.emulated ? "yes: of the machine that imitates it" : "no"],
      ["steady", measured.degraded ? "no: the machine was busy, times are too long" : "yes"],
      ["float channels", steps && `in blocks of ${steps.float32Multiple}`],
      [
        "int8 channels",
        steps &&
          `in fours; input channels that are none take ${steps.int8UnalignedFactor.toFixed(2)} times as long`,
      ],
    ]),
    table(["operator", "type", "channels", "pixels", "µs"], rows, "The table is empty."),
  ].join("\n\n");
}

function addClaim(...[device, io]: Parameters<CommandGroup["add"]>): void {
  action(device, "claim", "make a one-time token with which one device enrols", [
    "device claim --region eu-west --device camera-1 --out camera-1.claim",
    "device claim --region ap-south --label role=lab --label site=4",
  ])
    .requiredOption("--region <name>", "where the device is")
    .option("--device <id>", "name of the device; one is drawn when it is left out")
    .option("--label <key=value>", "a label; may be repeated", collectLabels)
    .option("--valid-minutes <n>", "how long the token is valid (60)", minutes)
    .option("--out <file>", "write the token to a file that only you may read")
    .action(async (options) => {
      const client = clientOf(io, options);
      // Opened first: a claim whose token cannot be kept is worth nothing.
      const out = options.out === undefined ? undefined : openSecretFile(options.out);
      const order = client.call("createClaim", {
        body: {
          region: options.region,
          device: options.device,
          labels: options.label ?? {},
          ...(options.validMinutes === undefined
            ? {}
            : { ttlMs: options.validMinutes * millisecondsPerMinute }),
        },
      });
      const answer = await order.catch((error: unknown) => {
        out?.discard();
        throw error;
      });
      if (out === undefined) {
        show(io, options, answer, ({ token }) => token);
        return;
      }
      out.keep(`${answer.token}\n`);
      const { token: _token, ...rest } = answer;
      show(
        io,
        options,
        { ...rest, file: options.out },
        ({ expiresAtMs, file }) => `${file} is valid until ${time(expiresAtMs)} UTC.`,
      );
    });
}

function minutes(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("a number of minutes above 0");
}

function collectLabels(
  pair: string,
  previous: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  const at = pair.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("it is not of the form key=value");
  return { ...previous, [pair.slice(0, at)]: pair.slice(at + 1) };
}

function stateOf({ standing, online }: DeviceAnswer): string {
  if (standing !== "active") return standing;
  return online ? "online" : "offline";
}

function runs({ models }: DeviceAnswer): string {
  return Object.entries(models)
    .map(([name, { committed, update }]) => {
      const now = committed === null ? "nothing" : `${committed.version} (${committed.recipe})`;
      if (update === null) return `${name} ${now}`;
      const why = update.waiting === null ? "" : `: ${update.waiting.why}`;
      return `${name} ${now}, ${update.state}${why}`;
    })
    .join("\n");
}

function describe(device: DeviceAnswer): string {
  const { profile } = device;
  return facts([
    ["device", device.id],
    ["class", device.deviceClass],
    ["region", device.region],
    [
      "labels",
      Object.entries(device.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(" "),
    ],
    ["state", stateOf(device)],
    ["reason", device.standingReason],
    ["runs", runs(device).replaceAll("\n", "; ")],
    ["agent", device.agentVersion],
    ["last seen", time(device.lastSeenAtMs)],
    ["processor", `${profile.cpuModel}, ${profile.cores} cores, ${profile.architecture}`],
    ["int8 instructions", profile.isa.join(" ")],
    ["memory", `${(profile.ramBytes / 2 ** 20).toFixed(0)} MiB`],
    ["power", profile.power],
    ["onnxruntime", profile.runtime.onnxruntime],
    ["int8 to float32 time", profile.int8ToFloat32Ratio?.toFixed(2)],
    ["emulated", device.emulated ? "yes: the hardware is declared, not probed" : "no"],
  ]);
}

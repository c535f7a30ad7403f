/** The last page of the demo: one row per device, for a terminal and for the README. */
import Table from "cli-table3";
import { z } from "zod";
import type { LocalFleet } from "../fleet/local-fleet.ts";
import { devices } from "./operator.ts";
import { variantView } from "./views.ts";

const columns = [
  "device",
  "class",
  "region",
  "version",
  "recipe",
  "size kB",
  "accuracy %",
  "p50 ms",
  "state",
  "why",
] as const;

const historyView = z.object({
  attempts: z.array(
    z.object({ outcome: z.string().nullable(), version: z.string(), why: z.string().nullable() }),
  ),
});
const latencyView = z.object({
  devices: z.array(z.object({ device: z.string(), latencyP50Ms: z.number().nullable() })),
});

export async function finalTable(fleet: LocalFleet): Promise<string> {
  const table = new Table({
    head: [...columns],
    style: { head: [], border: [] },
    wordWrap: true,
    colWidths: [null, null, null, null, null, null, null, null, null, 48],
  });
  for (const row of await rows(fleet)) table.push(row);
  return table.toString();
}

export async function markdownTable(fleet: LocalFleet): Promise<string> {
  const lines = (await rows(fleet)).map((row) => `| ${row.join(" | ")} |`);
  return [`| ${columns.join(" | ")} |`, `|${columns.map(() => "---|").join("")}`, ...lines].join(
    "\n",
  );
}

async function rows(fleet: LocalFleet): Promise<string[][]> {
  const api = fleet.api();
  const latencies = latencyView.parse(await api.get("/v1/telemetry/devices?model=digits")).devices;
  const all = await devices(api);
  return Promise.all(
    all.map(async (device) => {
      const committed = device.models["digits"]?.committed ?? null;
      const history = historyView.parse(
        await api.get(`/v1/devices/${device.id}/attempts`),
      ).attempts;
      const version = committed?.version ?? "";
      const variants = z
        .object({ variants: z.array(variantView) })
        .parse(await api.get(`/v1/models/digits/versions/${version}/variants`)).variants;
      const variant = variants.find(({ bundleSha256 }) => bundleSha256 === committed?.bundleSha256);
      const p50 = latencies.find((entry) => entry.device === device.id)?.latencyP50Ms;
      return [
        device.id + (device.emulated ? " (emulated)" : ""),
        device.deviceClass ?? "",
        device.region,
        version,
        committed?.recipe ?? "none",
        ((variant?.modelBytes ?? 0) / 1000).toFixed(1),
        ((variant?.evaluation?.sealed.value ?? 0) * 100).toFixed(2),
        p50 == null ? "" : p50.toFixed(3),
        device.online ? "serving" : "offline",
        lastWord(history),
      ];
    }),
  );
}

/** The latest decision about a device, in its own words. */
function lastWord(history: z.infer<typeof historyView>["attempts"]): string {
  const last = history.findLast(({ outcome }) => outcome !== null);
  return last === undefined ? "" : `version ${last.version} ${last.outcome}: ${last.why ?? ""}`;
}

/** A recorded device at rest: it serves a call now and then, and nobody orders anything. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { getDevice } from "../../../../controller/fleet/devices.ts";
import { startTestController } from "../../../../test/helpers/test-controller.ts";
import { waitFor } from "../../../fleet/programs.ts";
import { createDisk } from "./disk.ts";
import { writeTree } from "./disks.ts";
import { ask } from "./local-api.ts";
import { device, type Recording } from "./record.ts";
import { type DiskOperation, readTrace } from "./trace.ts";
import { startTraced } from "./traced-agent.ts";

const startTimeoutMs = 60_000;
/** A boot's last reports and their acks are over after this. */
const restMs = 15_000;

/** Operations of `idleMs` after the update that was recorded; the boot before is not among them. */
export async function recordIdle(
  recording: Recording,
  folder: string,
  options: { idleMs: number; callEveryMs: number },
): Promise<DiskOperation[]> {
  mkdirSync(folder);
  const agentDir = join(folder, "agent");
  const disk = createDisk(recording.start);
  for (const operation of recording.operations) disk.apply(operation);
  writeTree(agentDir, disk.live());
  const { configDir, mqttPort, servers } = recording;
  const controller = await startTestController(servers.told, { config: { configDir, mqttPort } });
  const traceFile = join(folder, "trace.txt");
  const agent = startTraced({ agentDir, traceFile, logPath: join(folder, "agent.log") });
  let startMs: number;
  let endMs: number;
  try {
    const online = async () =>
      (await getDevice(controller.ctx, device)).online ? true : undefined;
    await waitFor("the device to be online", online, { timeoutMs: startTimeoutMs });
    await sleep(restMs);
    startMs = Date.now();
    endMs = startMs + options.idleMs;
    while (Date.now() < endMs) {
      await ask(agentDir);
      await sleep(Math.min(options.callEveryMs, Math.max(0, endMs - Date.now())));
    }
  } finally {
    await agent.stop();
    await controller.stop();
  }
  return readTrace(readFileSync(traceFile, "utf8"), agentDir).filter(
    ({ atMs }) => atMs >= startMs && atMs <= endMs,
  );
}

/**
 * The input player: sends real digits to the local endpoint of each agent, as a camera's software
 * would, until its parent is gone. Refused and failed calls are the agents' to count.
 *
 * Arguments: agents' data folders; each holds serving.json with the port of the moment.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { imageBytes, loadMnist } from "../data/mnist.ts";

/** Pause between two inputs to one agent: 10 inputs a second and device. */
const everyMs = 100;
const callTimeoutMs = 2_000;

const folders = process.argv.slice(2);
const { test } = loadMnist();
process.on("disconnect", () => process.exit(0));
await Promise.all(folders.map(play));

async function play(folder: string, device: number): Promise<void> {
  for (let at = device * 997; ; at = (at + 1) % test.count) {
    const image = test.images.subarray(at * imageBytes, (at + 1) * imageBytes);
    await send(folder, image).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

async function send(folder: string, image: Uint8Array): Promise<void> {
  const { url } = JSON.parse(readFileSync(join(folder, "serving.json"), "utf8")) as { url: string };
  const response = await fetch(`${url}/v1/models/digits/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: { image: Buffer.from(image).toString("base64") } }),
    signal: AbortSignal.timeout(callTimeoutMs),
  });
  await response.arrayBuffer();
}

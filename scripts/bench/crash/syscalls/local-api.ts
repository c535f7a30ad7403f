/** Asks a running agent's own inference API, as the device's software would. */
import { readFileSync } from "node:fs";
import { servingPath } from "../../../../agent/paths.ts";
import { model } from "./record.ts";

const sampleBase64 = Buffer.alloc(64, 7).toString("base64");

/** The bundle that answers a sample on the agent's local API. */
export async function ask(agentDir: string): Promise<string> {
  const { url } = JSON.parse(readFileSync(servingPath(agentDir), "utf8")) as { url: string };
  const response = await fetch(`${url}/v1/models/${model}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: { x: sampleBase64 } }),
  });
  const answer = (await response.json()) as { bundleSha256?: string; message?: string };
  if (answer.bundleSha256 === undefined) throw new Error(`no answer: ${answer.message}`);
  return answer.bundleSha256;
}

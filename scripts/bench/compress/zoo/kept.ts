/** Trained nets are kept between runs, by what they were trained from. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { cacheFolder } from "../peers.ts";
import { type TrainingTask, train } from "./train.ts";

/** The trained net, from the cache when the same task was trained before. Throws `training-diverged`. */
export async function trainedOnce(
  name: string,
  task: TrainingTask,
  say: (line: string) => void,
): Promise<Uint8Array> {
  const hash = createHash("sha256").update(task.net);
  hash.update(new Uint8Array(task.targets.buffer));
  hash.update(JSON.stringify([task.count, task.epochs, task.learningRate]));
  const file = path.join(cacheFolder, `${name}-${hash.digest("hex").slice(0, 12)}.onnx`);
  if (fs.existsSync(file)) return new Uint8Array(fs.readFileSync(file));
  const trained = await train(task, say);
  fs.mkdirSync(cacheFolder, { recursive: true });
  fs.writeFileSync(`${file}.part`, trained);
  fs.renameSync(`${file}.part`, file);
  return trained;
}

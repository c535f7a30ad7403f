/**
 * Runs one file on samples and writes down what it answers: started under an emulator, this is onnxruntime
 * as another processor has it. `node foreign-main.ts JOB` reads the job and writes beside it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { deserialize, serialize } from "node:v8";
import { openSession } from "../../../shared/inference/session.ts";
import type { ForeignJob } from "./foreign-processors.ts";

const { modelPath, answerPath, feeds } = deserialize(
  readFileSync(process.argv[2] ?? ""),
) as ForeignJob;
const session = await openSession(modelPath);
const answers: Float32Array[] = [];
for (const feed of feeds) {
  const results = await session.run({ [session.inputs[0]!.name]: feed });
  answers.push(results[session.outputs[0]!.name]!.data as Float32Array);
}
await session.release();
writeFileSync(answerPath, serialize(answers));

/**
 * Makes every version of the digit model in order, each from the one it starts from, and judges it
 * on the golden pool. Nothing is written here.
 */
import { createHash } from "node:crypto";
import { assert } from "../../../shared/assert.ts";
import { goldenPool } from "../../data/golden-pool.ts";
import { type DigitSet, loadMnist, takeDigits, trainingIndices } from "../../data/mnist.ts";
import { accuracyOf, predictDigits } from "./evaluate.ts";
import { buildDigitNetwork } from "./network.ts";
import { type DigitVersionRecord, digitModelFile } from "./record.ts";
import { type TrainingProgress, trainDigits } from "./train.ts";
import { type DigitVersion, digitVersions } from "./versions.ts";

export interface MadeVersion {
  readonly bytes: Uint8Array;
  readonly record: DigitVersionRecord;
}

/** Reports each training step; `onVersion` is called when a version is trained and judged. */
export async function makeDigitVersions(options: {
  readonly onProgress: (version: DigitVersion, progress: TrainingProgress) => void;
  readonly onVersion: (made: MadeVersion) => void;
}): Promise<{ readonly versions: MadeVersion[]; readonly poolImages: number }> {
  const mnist = loadMnist();
  const digits = takeDigits(mnist.train, trainingIndices());
  const pool = goldenPool(mnist);
  const files = new Map<number, Uint8Array>();
  const versions: MadeVersion[] = [];
  let answersBefore: Uint8Array | undefined;
  for (const version of digitVersions) {
    const startModel =
      version.startsFrom === 0 ? buildDigitNetwork(version.seed) : files.get(version.startsFrom);
    assert(
      startModel !== undefined,
      `version ${version.startsFrom} comes after ${version.version}`,
    );
    const bytes = await trainDigits({
      version,
      startModel,
      digits,
      onProgress: (progress) => options.onProgress(version, progress),
    });
    files.set(version.version, bytes);
    const answers = await predictDigits(bytes, pool);
    const record = describe({ version, bytes, digits, pool, answers, answersBefore });
    versions.push({ bytes, record });
    options.onVersion({ bytes, record });
    answersBefore = answers;
  }
  return { versions, poolImages: pool.count };
}

function describe(made: {
  readonly version: DigitVersion;
  readonly bytes: Uint8Array;
  readonly digits: DigitSet;
  readonly pool: DigitSet;
  readonly answers: Uint8Array;
  readonly answersBefore: Uint8Array | undefined;
}): DigitVersionRecord {
  const { version, bytes, answers, pool } = made;
  const before = made.answersBefore ?? answers;
  const flipped = [...answers.keys()].filter((index) => answers[index] !== before[index]);
  return {
    version: version.version,
    file: digitModelFile(version.version),
    summary: version.summary,
    startsFrom: version.startsFrom,
    seed: version.seed,
    epochs: version.epochs,
    trainingImages: made.digits.count,
    bytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    accuracy: accuracyOf(answers, pool.labels),
    flips: flipped.length,
    negativeFlips: flipped.filter((index) => before[index] === pool.labels[index]).length,
  };
}

/** What a file answers on samples of a subject, run in this process by onnxruntime-node on one thread. */
import { type Feed, openSession, type Session } from "../../../shared/inference/session.ts";
import { type Answer, type Samples, type Subject, sampleLength, topOne } from "./subject.ts";

/** Samples in one run, where the file leaves the batch free. */
const batchMax = 50;

/** The first output of each sample, in the samples' order, `most` of them in a run. Throws `onnx-malformed` for a refused file. */
export async function answersOf(
  file: Uint8Array,
  subject: Pick<Subject, "input">,
  samples: Samples,
  most = batchMax,
): Promise<Answer[]> {
  const session = await openSession(file);
  try {
    const isFree = subject.input.isBatched && session.inputs[0]!.shape[0] === -1;
    const batch = isFree ? most : 1;
    const answers: Answer[] = [];
    for (let start = 0; start < samples.count; start += batch) {
      const count = Math.min(batch, samples.count - start);
      const output = await runBatch(session, feedOf(subject, samples, start, count));
      const length = output.length / count;
      for (let at = 0; at < count; at++) {
        answers.push(output.slice(at * length, (at + 1) * length));
      }
    }
    return answers;
  } finally {
    await session.release();
  }
}

/** Right or wrong for each labelled sample at `indices`. */
export function rightAnswers(
  subject: Subject,
  answers: readonly Answer[],
  indices: Uint32Array,
): boolean[] {
  return answers.map((answer, at) => subject.isRight(answer, indices[at]!));
}

/** Percent of right answers of the source on the samples that its published figure was taken on. */
export async function publishedAccuracy(subject: Subject): Promise<number> {
  const { samples } = subject.published!;
  const isRight = topOne(samples.labels);
  const answers = await answersOf(subject.modelBytes, subject, samples);
  return (100 * answers.filter(isRight).length) / samples.count;
}

/** `count` samples from `start` on as one input of the model. */
export function feedOf(
  subject: Pick<Subject, "input">,
  samples: Samples,
  start: number,
  count: number,
): Feed {
  const { input } = subject;
  const length = sampleLength(subject);
  return {
    dtype: input.dtype,
    shape: input.isBatched ? [count, ...input.shape] : input.shape,
    data: samples.data.subarray(start * length, (start + count) * length) as Feed["data"],
  };
}

async function runBatch(session: Session, feed: Feed): Promise<Float32Array> {
  const results = await session.run({ [session.inputs[0]!.name]: feed });
  const { dtype, data } = results[session.outputs[0]!.name]!;
  if (data instanceof Float32Array) return data;
  throw new Error(`the first output is ${dtype}, not float32`);
}

/** Files are answered in several processes as they are in one, and a refused file is told with its reason. */
import { expect, it } from "vitest";
import { answersOf } from "../../../scripts/bench/compress/answer.ts";
import { answerAll } from "../../../scripts/bench/compress/answer-all.ts";
import type { FileAnswer } from "../../../scripts/bench/compress/answer-main.ts";
import { autoencoder } from "../../../scripts/bench/compress/zoo/autoencoder.ts";
import { transformer } from "../../../scripts/bench/compress/zoo/transformer.ts";

const length = 28 * 28;
const count = 7;
const samples = {
  data: Float32Array.from({ length: count * length }, (_, at) => Math.sin(at)),
  count,
};
const flat = {
  input: { name: "input", dtype: "float32", shape: [length], isBatched: true },
} as const;

it("answers every file once, in whatever process", async () => {
  const good = autoencoder();
  const files = [good, new Uint8Array([1, 2, 3]), good, transformer()];
  const told = new Map<number, FileAnswer>();
  await answerAll(files, flat, samples, (at, answer) => {
    expect(told.has(at)).toBe(false);
    told.set(at, answer);
  });
  const expected = { answers: await answersOf(good, flat, samples) };
  expect(told.get(0)).toEqual(expected);
  expect(told.get(2)).toEqual(expected);
  // Refused: no model at all, and one that takes samples of another shape.
  expect(told.get(1)).toMatchObject({ reason: expect.stringMatching(/onnxruntime refuses/) });
  expect(told.get(3)).toHaveProperty("reason");
});

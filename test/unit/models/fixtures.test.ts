/** The fixtures load, answer in the promised shape, and differ between seeds. */
import { describe, expect, it } from "vitest";
import { type FixtureModel, tinyConvNet, tinyMatMulNet } from "../../../scripts/models/fixtures.ts";
import { openRunner } from "../../../scripts/models/ort-runner.ts";

async function answer(model: FixtureModel, batch: number) {
  const runner = await openRunner(model.bytes);
  const shape = [batch, ...model.inputShape];
  const size = shape.reduce((product, length) => product * length, 1);
  const data = Float32Array.from({ length: size }, (_, index) => (index % 7) / 7);
  const results = await runner.runAll(new Map([[model.input, { data, shape }]]));
  await runner.close();
  return results.get(model.output)!;
}

for (const [name, make] of Object.entries({ tinyConvNet, tinyMatMulNet })) {
  describe(name, () => {
    it("answers any batch with one logit per class", async () => {
      for (const batch of [1, 3]) {
        expect((await answer(make(1), batch)).shape).toEqual([batch, 4]);
      }
    });

    it("is made by its seed", async () => {
      expect(make(1).bytes).toEqual(make(1).bytes);
      expect((await answer(make(1), 2)).data).not.toEqual((await answer(make(2), 2)).data);
    });
  });
}

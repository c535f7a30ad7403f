/** The device's own software: it asks its model all the time, and now and then with a marked input. */
import { callModel } from "../../../agent/serving/call.ts";
import type { Random } from "../../../shared/prng.ts";
import { modelName } from "../world/catalogue.ts";
import { inputOf, markedSample, sampleSet } from "../world/synthetic-model.ts";
import type { VirtualTime } from "../world/time.ts";
import type { SimDevice } from "./supervise.ts";

const everyMs = 10_000;
/** Every so many-th input is marked. */
const markedEvery = 3;

/** Runs until the returned function is called. What an input does to the model is the watch's business. */
export function startTraffic(
  time: VirtualTime,
  devices: readonly SimDevice[],
  random: Random,
): () => void {
  let isOn = true;
  for (const device of devices) {
    let calls = random.nextInt(markedEvery);
    const next = (): void => {
      if (!isOn) return;
      time.after(everyMs, next);
      const sample =
        ++calls % markedEvery === 0 ? markedSample() : sampleSet(random.nextUint32(), 1).data;
      const { local } = device.current();
      if (local === undefined || !device.machine.isOn()) return;
      // Errors are recorded where they count.
      callModel(local, modelName, inputOf(sample)).catch(() => {});
    };
    time.after(random.nextInt(everyMs), next);
  }
  return () => {
    isOn = false;
  };
}

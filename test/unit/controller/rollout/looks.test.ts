/** How often a rollout is looked at. */
import { expect, it } from "vitest";
import { createLooks, pauseMs } from "../../../../controller/rollout/looks.ts";
import { handClock } from "../../../helpers/hand-clock.ts";

const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };

it("looks at a small rollout with each answer", async () => {
  const looks = createLooks({ clock: handClock(), log });
  let seen = 0;
  for (let at = 0; at < 5; at++)
    await looks.after("r", 200, async () => {
      seen++;
    });
  expect(seen).toBe(5);
});

it("looks at a large one once in a while, and always after the last answer", async () => {
  const clock = handClock();
  const looks = createLooks({ clock, log });
  let answers = 0;
  const seen: number[] = [];
  const look = async () => {
    seen.push(answers);
  };
  for (let at = 0; at < 100; at++) {
    answers++;
    await looks.after("r", 4_000, look);
    await clock.pass(100);
  }
  await clock.pass(pauseMs(4_000));
  // One at once, then one every two seconds of ten, and the last one saw every answer.
  expect(seen.length).toBeGreaterThanOrEqual(6);
  expect(seen.length).toBeLessThanOrEqual(7);
  expect(seen.at(-1)).toBe(100);
});

it("looks at no rollout after it was stopped", async () => {
  const clock = handClock();
  const looks = createLooks({ clock, log });
  let seen = 0;
  for (let at = 0; at < 2; at++)
    await looks.after("r", 4_000, async () => {
      seen++;
    });
  looks.stop();
  await clock.pass(60_000);
  expect(seen).toBe(1);
});

it("lets time alone bring looks at a large one once a minute, and at a small one whenever asked", async () => {
  const clock = handClock();
  const looks = createLooks({ clock, log });
  let large = 0;
  for (let at = 0; at < 18; at++) {
    if (looks.isTime("large", 10_000)) large++;
    expect(looks.isTime("small", 200)).toBe(true);
    await clock.pass(10_000);
  }
  expect(large).toBe(3);
});

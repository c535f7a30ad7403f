/** Replays every n-th case and tells each ending to the parent: `node replay-main.ts SHARE SHARES`. */
import { allCases, replayCase } from "./run-cases.ts";
import { makeCrashState } from "./start-state.ts";

const [share, shares] = process.argv.slice(2).map(Number);
const start = await makeCrashState();
const cases = await allCases(start);
for (const [index, one] of cases.entries()) {
  if (index % (shares ?? 1) === share) process.send?.(await replayCase(start, one));
}
process.disconnect?.();

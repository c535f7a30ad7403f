/**
 * Virtual time: one queue of events for a whole world, and a clock for each program in it.
 *
 * Invariants: an event runs only when no promise can go on any more, so a run depends on nothing but
 * its seed; events of the same instant run in the order they were added. Whatever a simulated port
 * does is done in microtasks or in events; work that really waits (key generation) belongs outside `run`.
 */
import type { Clock } from "../../../shared/ports/clock.ts";

/** The world begins here: later than any build of the agent believes in. */
const epochMs = Date.UTC(2027, 0, 1);

/** The true time of day at a virtual time, in ms since the epoch. */
export const wallMsOf = (virtualMs: number): number => virtualMs + epochMs;

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

export interface VirtualTime {
  nowMs(): number;
  /** Adds an event; the returned function takes it back. */
  after(delayMs: number, run: () => void): () => void;
  /**
   * Runs events until `done` answers true, and answers whether it did before `limitMs` of virtual time
   * had passed or no event was left.
   */
  run(limitMs: number, done?: () => boolean | Promise<boolean>): Promise<boolean>;
}

/** `done` is asked at most this often, in virtual ms, since it may read a database. */
const askEveryMs = 500;

/** Lets virtual time pass until `work` has settled, and answers what it came to. */
export async function during<T>(time: VirtualTime, work: Promise<T>): Promise<T> {
  let isSettled = false;
  const settle = () => {
    isSettled = true;
  };
  work.then(settle, settle);
  if (!(await time.run(workMsMax, () => isSettled))) throw new Error("the world stands still");
  return work;
}

/** Longest work of one call, in virtual ms. */
const workMsMax = 3_600_000;

/** A world that begins at `startMs`, e.g. where another one was stored. */
export function virtualTime(startMs = 0): VirtualTime {
  const queue = eventQueue();
  let nowMs = startMs;
  let order = 0;
  return {
    nowMs: () => nowMs,
    after(delayMs, run) {
      const event = { atMs: nowMs + Math.max(0, delayMs), order: order++, run, cancelled: false };
      queue.add(event);
      return () => {
        event.cancelled = true;
      };
    },
    async run(limitMs, done = () => false) {
      const endMs = nowMs + limitMs;
      let askAtMs = nowMs;
      for (;;) {
        await settled();
        if (nowMs >= askAtMs) {
          if (await done()) return true;
          askAtMs = nowMs + askEveryMs;
        }
        const next = queue.take(endMs);
        if (next === undefined) {
          nowMs = endMs;
          return done();
        }
        nowMs = next.atMs;
        next.run();
      }
    },
  };
}

/** Resolves when every promise that can go on has gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A binary heap by time and order. */
function eventQueue() {
  const heap: Event[] = [];
  const before = (a: Event, b: Event) =>
    a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  const swap = (a: number, b: number) => {
    [heap[a], heap[b]] = [heap[b]!, heap[a]!];
  };
  const pop = (): void => {
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    heap[0] = last;
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && before(heap[child]!, heap[least]!)) least = child;
      }
      if (least === at) return;
      swap(at, least);
      at = least;
    }
  };
  return {
    add(event: Event): void {
      heap.push(event);
      for (let at = heap.length - 1; at > 0; ) {
        const parent = (at - 1) >> 1;
        if (!before(heap[at]!, heap[parent]!)) return;
        swap(at, parent);
        at = parent;
      }
    },
    /** The next event, unless it is later than `endMs`. */
    take(endMs: number): Event | undefined {
      for (;;) {
        const first = heap[0];
        if (first === undefined || (first.atMs > endMs && !first.cancelled)) return undefined;
        pop();
        if (!first.cancelled) return first;
      }
    },
  };
}

export interface NodeClock extends Clock {
  /** Sets the wall clock wrong: this much is added to the true time. */
  jump(byMs: number): void;
  /** The wall clock reads 1970 from now on, and runs. */
  fallToEpoch(): void;
}

/**
 * The clock of one program run. `isAlive` is asked before each timer fires; `guard` runs its work, and
 * takes what it throws.
 */
export function nodeClock(
  time: VirtualTime,
  isAlive: () => boolean,
  guard: (work: () => void) => void,
  wallOffsetMs = 0,
): NodeClock {
  const bootedMs = time.nowMs();
  let offsetMs = epochMs + wallOffsetMs;
  const after: Clock["after"] = (delayMs, run) =>
    time.after(delayMs, () => {
      if (isAlive()) guard(run);
    });
  return {
    wallMs: () => Math.floor(time.nowMs()) + offsetMs,
    monotonicMs: () => time.nowMs() - bootedMs,
    after,
    sleep: (delayMs, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const finish = () => {
          cancel();
          signal?.removeEventListener("abort", finish);
          resolve();
        };
        const cancel = after(delayMs, finish);
        signal?.addEventListener("abort", finish);
      }),
    jump(byMs) {
      offsetMs += byMs;
    },
    fallToEpoch() {
      offsetMs = -Math.floor(time.nowMs());
    },
  };
}

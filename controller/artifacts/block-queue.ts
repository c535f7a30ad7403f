/**
 * Whose artifact block leaves next: devices take turns, a few blocks are on their way at once, and all
 * transfers together keep to one budget of bytes per second.
 *
 * Invariants: a device has one order at a time, and a newer one replaces it, since it names what is
 * missing now; a device that asks for much never delays one that asks for little by more than a turn.
 */
import type { Pace } from "./pacer.ts";

/** Blocks on their way at once: enough to hide the disk, and 512 KiB of memory. */
const concurrency = 8;

export interface BlockOrder {
  readonly sha256: string;
  /** Indices, in the order they are sent. */
  readonly blocks: readonly number[];
  /** Length of a block. */
  readonly bytesOf: (block: number) => number;
  readonly send: (block: number) => Promise<void>;
}

export interface BlockQueue {
  order(device: string, order: BlockOrder): void;
  /** Drops all orders; resolves when nothing is on its way. */
  stop(): Promise<void>;
}

export function createBlockQueue(options: {
  pace: Pace;
  onError: (device: string, error: unknown) => void;
}): BlockQueue {
  /** In the order of turns: a device that had one goes to the end. */
  const waiting = new Map<string, { order: BlockOrder; next: number }>();
  const workers = new Set<Promise<void>>();
  let stopped = false;

  const takeTurn = (): { device: string; order: BlockOrder; block: number } | undefined => {
    const [first] = waiting;
    if (first === undefined) return undefined;
    const [device, turn] = first;
    const block = turn.order.blocks[turn.next++];
    waiting.delete(device);
    if (turn.next < turn.order.blocks.length) waiting.set(device, turn);
    return block === undefined ? takeTurn() : { device, order: turn.order, block };
  };
  const work = async (): Promise<void> => {
    for (let turn = takeTurn(); turn !== undefined; turn = takeTurn()) {
      const { device, order, block } = turn;
      try {
        await options.pace(order.bytesOf(block));
        await order.send(block);
      } catch (error) {
        waiting.delete(device);
        options.onError(device, error);
      }
    }
  };

  return {
    order(device, order) {
      if (stopped) return;
      const turn = waiting.get(device);
      if (turn === undefined) waiting.set(device, { order, next: 0 });
      else Object.assign(turn, { order, next: 0 });
      if (workers.size >= concurrency) return;
      const worker = work().finally(() => workers.delete(worker));
      workers.add(worker);
    },
    async stop() {
      stopped = true;
      waiting.clear();
      await Promise.allSettled(workers);
    },
  };
}

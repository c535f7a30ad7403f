/**
 * Real agents in numbers against a real controller and its broker on this machine, in real time. The size
 * is for a look; LOAD_DEVICES, LOAD_MINUTES and LOAD_RATE ask for more.
 */
import { runLoad } from "../simulate/load/run-load.ts";
import { atMost, type Benchmark } from "./frame.ts";

const sizeOf = (name: string, usual: number): number => Number(process.env[name] ?? usual);

export const loadBenchmark: Benchmark = {
  name: "load",
  summary:
    "simulated agents against a real controller and broker: messages per second, acks, processor time, memory",
  async run(say) {
    const { faults, ...row } = await runLoad({
      devices: sizeOf("LOAD_DEVICES", 100),
      minutes: sizeOf("LOAD_MINUTES", 1),
      rate: sizeOf("LOAD_RATE", 20),
      say,
    });
    for (const fault of faults) say(fault);
    return {
      rows: [row],
      bars: [
        atMost("attempts without an outcome", row.lost, 0),
        atMost("attempts with more than one outcome", row.doubled, 0),
        atMost("rollouts that did not end as they must", faults.length, 0),
      ],
    };
  },
};

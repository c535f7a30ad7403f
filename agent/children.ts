/**
 * The child processes of one agent, so that an orderly stop leaves none behind, not even those of a
 * trial that it cut short.
 */
import type { ChildHandle, Processes } from "../shared/ports/processes.ts";

export interface TrackedProcesses extends Processes {
  /** Kills every child that still runs; a later fork is killed at once. */
  killAll(): void;
}

export function trackProcesses(processes: Processes): TrackedProcesses {
  const running = new Set<ChildHandle>();
  let ended = false;
  return {
    fork(entry, options) {
      const child = processes.fork(entry, options);
      running.add(child);
      child.onExit(() => running.delete(child));
      if (ended) child.kill("SIGKILL");
      return child;
    },
    killAll() {
      ended = true;
      for (const child of running) child.kill("SIGKILL");
    },
  };
}

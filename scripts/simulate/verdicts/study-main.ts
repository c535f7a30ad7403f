/** A process that runs its part of a study: the parent names the study and the seeds, over IPC. */
import { z } from "zod";
import { runStudy, studies } from "./studies.ts";

const orderSchema = z.object({ name: z.string(), from: z.int(), runs: z.int() });

process.on("message", (message) => {
  const { name, from, runs } = orderSchema.parse(message);
  const study = studies.find((one) => one.name === name);
  if (study === undefined) throw new Error(`no study ${name}`);
  process.send?.(runStudy(study, { from, runs }));
});

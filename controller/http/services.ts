/** What the handlers may call. */
import type { ControllerContext } from "../context.ts";
import type { Jobs } from "../jobs/queue.ts";

export interface Services {
  readonly ctx: ControllerContext;
  readonly jobs: Jobs;
}

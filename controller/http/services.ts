/** What the routes may call. */
import type { ControllerContext } from "../context.ts";
import type { Jobs } from "../jobs/queue.ts";

export interface Services {
  readonly ctx: ControllerContext;
  readonly jobs: Jobs;
  /** SHA-256 of the admin token. */
  readonly tokenSha256: string;
}

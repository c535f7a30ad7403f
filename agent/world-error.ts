/**
 * Tells failures of the world (files, database, children, network) from faults of our own code. The
 * first end an attempt or are tried again later; the second must stop the program.
 */
import { FleetError, isFleetError } from "../shared/errors.ts";

/** Codes of a full disk: files, quotas, SQLite. */
const fullCodes = new Set(["ENOSPC", "EDQUOT", "SQLITE_FULL"]);
/** SQLite results that the disk or another process causes (sqlite.org/rescode.html). */
const sqliteWorld = /^SQLITE_(FULL|IOERR|READONLY|CANTOPEN|BUSY|LOCKED|NOMEM)/;
/** Names of errno; Node's own argument errors begin with ERR_ and are ours. */
const errno = /^E[A-Z0-9]+$/;

/**
 * The failure as a coded error, or undefined when `error` is a fault of our code. `disk-full` for a
 * full disk, `internal` for other failures of the system.
 */
export function worldError(error: unknown): FleetError | undefined {
  if (isFleetError(error)) return error;
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") {
    return undefined;
  }
  if (fullCodes.has(error.code)) {
    return new FleetError("disk-full", "the disk is full", { cause: error });
  }
  if (!errno.test(error.code) && !sqliteWorld.test(error.code)) return undefined;
  return new FleetError("internal", error.message, { cause: error });
}

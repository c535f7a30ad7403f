/** The append-only record of what happened and why. */
import type { Database } from "../database.ts";

export interface NewEvent {
  readonly atMs: number;
  readonly kind: string;
  readonly subject: string;
  readonly message: string;
  readonly data?: unknown;
}

export async function recordEvent(db: Database, event: NewEvent): Promise<void> {
  await db
    .insertInto("events")
    .values({
      atMs: event.atMs,
      kind: event.kind,
      subject: event.subject,
      message: event.message,
      dataJson: JSON.stringify(event.data ?? {}),
    })
    .execute();
}

/** Newest first. */
export function listEvents(db: Database, filter: { subject?: string | undefined; limit: number }) {
  return db
    .selectFrom("events")
    .selectAll()
    .$if(filter.subject !== undefined, (query) => query.where("subject", "=", filter.subject ?? ""))
    .orderBy("id", "desc")
    .limit(filter.limit)
    .execute();
}

/** Who stands behind an MQTT credential: the controller itself, a device, or a claim. */
import {
  claimUsernamePrefix,
  controllerUsername,
  deviceUsernamePrefix,
} from "../../shared/protocol/claim-token.ts";
import type { Principal } from "../broker/access.ts";
import type { Database } from "../storage/database.ts";
import { prepared } from "../storage/prepared.ts";
import { secretMatches } from "./claims.ts";

/**
 * An expired or used claim still connects, so that enrolment can answer why it is refused; it reaches
 * nothing else. A retired device never connects.
 */
export async function principalOf(
  db: Database,
  controllerSecretSha256: string,
  credential: { username: string; password: Uint8Array },
): Promise<Principal | undefined> {
  const { username, password } = credential;
  if (username === controllerUsername) {
    return secretMatches(password, controllerSecretSha256) ? { kind: "controller" } : undefined;
  }
  if (username.startsWith(deviceUsernamePrefix)) {
    const id = username.slice(deviceUsernamePrefix.length);
    const [row] = (await identityOf(db, { id })).rows;
    const allowed =
      row !== undefined &&
      row.standing !== "retired" &&
      secretMatches(password, row.passwordSha256);
    return allowed ? { kind: "device", id } : undefined;
  }
  if (username.startsWith(claimUsernamePrefix)) {
    const id = username.slice(claimUsernamePrefix.length);
    const row = await db
      .selectFrom("claims")
      .select("secretSha256")
      .where("id", "=", id)
      .executeTakeFirst();
    return row !== undefined && secretMatches(password, row.secretSha256)
      ? { kind: "claim", id }
      : undefined;
  }
  return undefined;
}

const identityOf = prepared((db, { id }: { id: string }) =>
  db.selectFrom("devices").select(["passwordSha256", "standing"]).where("id", "=", id),
);

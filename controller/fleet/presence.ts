/**
 * Whether a birth is the same device again or a second one with its identity, purely.
 *
 * A device's boots follow each other: a boot that was superseded never opens a new session, and a
 * session number is used by one boot only. Whatever breaks that is a copy of the disk.
 */

export interface KnownPresence {
  readonly session: number;
  readonly boot: string | null;
  readonly online: boolean;
}

export interface SeenBirth {
  readonly session: number;
  readonly boot: string;
  /** True when an earlier birth named this boot. */
  readonly bootSeenBefore: boolean;
}

export type BirthVerdict =
  | { readonly kind: "accepted" }
  | { readonly kind: "repeated" }
  | { readonly kind: "clone"; readonly reason: string };

export function judgeBirth(known: KnownPresence, birth: SeenBirth): BirthVerdict {
  if (known.boot === null) return { kind: "accepted" };
  if (birth.boot === known.boot) {
    return birth.session > known.session ? { kind: "accepted" } : { kind: "repeated" };
  }
  if (birth.session === known.session) {
    return { kind: "clone", reason: `two boots opened session ${birth.session}` };
  }
  if (birth.bootSeenBefore) {
    // A late copy of an old message names an old session and changes nothing.
    if (birth.session < known.session) return { kind: "repeated" };
    return { kind: "clone", reason: "a boot that another one had replaced came back" };
  }
  if (birth.session < known.session && known.online) {
    return {
      kind: "clone",
      reason: `session ${birth.session} began while ${known.session} was live`,
    };
  }
  return { kind: "accepted" };
}

/** A last will counts only for the session that it was made for. */
export function willApplies(
  known: KnownPresence,
  will: { session: number; boot: string },
): boolean {
  return known.boot === will.boot && known.session === will.session;
}

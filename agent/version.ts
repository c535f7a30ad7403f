/** Version of this agent, compared with a manifest's `agentMin`, and the time that it was built. */

export const agentVersion = "0.3.0";

/** Lowest time that a device may believe in: no release of this program is older. 2026-11-24. */
export const buildTimeMs = Date.UTC(2026, 10, 24);

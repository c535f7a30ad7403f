/** What a device takes for a hold, keeps through restarts and hands back. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentContext } from "../../../agent/context.ts";
import { createHolds, type Holds } from "../../../agent/update/holds.ts";
import { createWaitingRoom } from "../../../agent/update/waiting-room.ts";
import { type Hold, signHold } from "../../../shared/artifact/hold.ts";
import { installAlways } from "../../../shared/artifact/install-policy.ts";
import { generateKeyPair, type Signed } from "../../../shared/artifact/signature.ts";
import { type AgentFolder, agentFolder } from "../../helpers/agent-context.ts";
import { handClock } from "../../helpers/hand-clock.ts";

let home: AgentFolder;
let context: AgentContext;
let holds: Holds;
let refused: string[];

function restart(change: Partial<AgentContext> = {}): void {
  refused = [];
  const opened = home.open(change);
  const log = {
    ...opened.log,
    warn: (_text: string, fields?: object) => refused.push((fields as { code: string }).code),
  };
  context = { ...opened, log };
  holds = createHolds(context);
}
beforeEach(() => {
  home = agentFolder();
  restart();
});
afterEach(() => home.remove());

const document = (change: Partial<Hold> = {}, key = context.identity.key): Signed =>
  signHold(
    {
      schema: "fleetfit/hold/1",
      tenant: "main",
      scope: { kind: "tenant" },
      sequence: 1,
      held: true,
      reason: "recall",
      issuedAtMs: 1,
      ...change,
    },
    key,
  );
const europe = { kind: "region", region: "eu-west" } as const;

describe("holds", () => {
  it("apply at once, and again after a restart", () => {
    let changes = 0;
    holds.onChange(() => changes++);
    expect(holds.reason()).toBeUndefined();
    holds.receive([document()]);
    expect(holds.reason()).toBe("recall");
    holds.receive([document()]);
    expect(changes).toBe(1);
    restart();
    expect(holds.reason()).toBe("recall");
  });
  it("end with a release of a higher sequence; what is older is refused", () => {
    holds.receive([document({ sequence: 2 })]);
    holds.receive([document({ sequence: 1, held: false })]);
    expect(refused).toEqual(["hold-older"]);
    expect(holds.reason()).toBe("recall");
    holds.receive([document({ sequence: 3, held: false })]);
    expect(holds.reason()).toBeUndefined();
    holds.receive([document({ sequence: 2 })]);
    expect(refused).toEqual(["hold-older", "hold-older"]);
    expect(holds.reason()).toBeUndefined();
  });
  it("of tenant and region are counted apart", () => {
    holds.receive([document({ sequence: 9 }), document({ scope: europe, reason: "heat" })]);
    holds.receive([document({ sequence: 10, held: false })]);
    expect(holds.reason()).toBe("heat");
    holds.receive([document({ scope: europe, sequence: 2, held: false })]);
    expect(holds.reason()).toBeUndefined();
  });
  it.each([
    ["another key", "signature-invalid", () => document({}, generateKeyPair())],
    ["another tenant", "hold-foreign", () => document({ tenant: "other" })],
    [
      "another region",
      "hold-foreign",
      () => document({ scope: { kind: "region", region: "us-east" } }),
    ],
    ["changed words", "signature-invalid", () => ({ ...document(), signed: { held: true } })],
  ])("of %s are refused as %s, and the others of the message count", (_what, code, make) => {
    holds.receive([make(), document({ scope: europe, reason: "heat" })]);
    expect(refused).toEqual([code]);
    expect(holds.reason()).toBe("heat");
  });
  it("are handed back until the controller shows that it knows them", () => {
    const newer = document({ sequence: 7 });
    holds.receive([newer]);
    expect(holds.reported()).toEqual([{ scope: "tenant", sequence: 7, document: null }]);
    holds.connected();
    expect(holds.reported()).toEqual([{ scope: "tenant", sequence: 7, document: newer }]);
    holds.receive([document({ sequence: 5, held: false })]);
    expect(holds.reported()).toMatchObject([{ sequence: 7, document: newer }]);
    holds.receive([newer]);
    expect(holds.reported()).toMatchObject([{ sequence: 7, document: null }]);
  });
});

describe("the time that an update waits", () => {
  const nightly = {
    ...installAlways,
    windows: [{ days: ["mon" as const], from: "01:00", to: "01:01" }],
  };
  const day = 86_400_000;

  it("is kept over restarts, so that a clock that is never right does not hold it for ever", async () => {
    context.store.addAttempt({ id: "a-1", model: "digits", manifestJson: "{}", state: "waiting" });
    let days = 0;
    for (; days < 20; days++) {
      // The wall clock of this one starts at 1970 again with each boot.
      const clock = handClock();
      restart({ clock });
      const room = createWaitingRoom(context, holds);
      if ((await room.judge("a-1", nightly)) === undefined) break;
      await clock.pass(day);
      await room.judge("a-1", nightly);
    }
    expect(days).toBe(7);
  });
});

/** Classes and presence, purely. */
import { describe, expect, it } from "vitest";
import { mayPublish, maySubscribe } from "../../../../controller/broker/access.ts";
import { classOf, explainClasses, parseClasses } from "../../../../controller/fleet/classes.ts";
import { judgeBirth, willApplies } from "../../../../controller/fleet/presence.ts";
import { messages } from "../../../../shared/protocol/registry.ts";
import { deviceFilter, topicOf } from "../../../../shared/protocol/topics.ts";
import { sampleProfile } from "../../../helpers/sample-payloads.ts";

const yaml = `
classes:
  - name: big-arm
    summary: Arm with much memory
    match: { architecture: [arm64], ramBytesMin: 8000000000 }
    budget: {}
    recipes: [fp16]
    objective: size
  - name: rest
    summary: everything else
    match: {}
    budget: {}
    recipes: [fp16]
    objective: size
`;

describe("classes", () => {
  const classes = parseClasses(yaml);
  const device = { profile: sampleProfile, labels: {} };
  it("match in order, and say why not", () => {
    expect(classOf(device, classes)).toBe("rest");
    expect(explainClasses(device, classes)[0]).toMatchObject({
      matches: false,
      reasons: [/ramBytes/].map(() => expect.stringContaining("below")),
    });
    const big = { ...device, profile: { ...sampleProfile, ramBytes: 9e9 } };
    expect(classOf(big, classes)).toBe("big-arm");
  });
  it("are refused with every fault named", () => {
    const broken = yaml
      .replace("objective: size", "objective: luck")
      .replace("recipes: [fp16]", "recipe: fp16");
    expect(() => parseClasses(broken)).toThrow(
      expect.objectContaining({
        code: "config-invalid",
        message: expect.stringMatching(/objective[\s\S]*|recipes[\s\S]*/),
      }),
    );
  });
});

describe("births", () => {
  const known = { session: 5, boot: "a", online: true };
  const judge = (birth: { session: number; boot: string; bootSeenBefore?: boolean }, change = {}) =>
    judgeBirth({ ...known, ...change }, { bootSeenBefore: false, ...birth }).kind;
  it("of the same boot or a later one are the device again", () => {
    expect(judge({ session: 6, boot: "a" })).toBe("accepted");
    expect(judge({ session: 6, boot: "b" })).toBe("accepted");
    expect(judge({ session: 5, boot: "a" })).toBe("repeated");
    expect(judge({ session: 1, boot: "b" }, { boot: null, session: 0 })).toBe("accepted");
  });
  it("that no single device can have are a clone's", () => {
    expect(judge({ session: 5, boot: "b" })).toBe("clone");
    expect(judge({ session: 7, boot: "b", bootSeenBefore: true })).toBe("clone");
    expect(judge({ session: 3, boot: "b" })).toBe("clone");
  });
  it("of a restored disk are accepted while nobody else is there", () => {
    expect(judge({ session: 3, boot: "b" }, { online: false })).toBe("accepted");
  });
  it("that come late as a copy change nothing", () => {
    expect(judge({ session: 4, boot: "b", bootSeenBefore: true })).toBe("repeated");
  });
  it("have a will of their own session only", () => {
    expect(willApplies(known, { session: 5, boot: "a" })).toBe(true);
    expect(willApplies(known, { session: 4, boot: "a" })).toBe(false);
    expect(willApplies(known, { session: 5, boot: "b" })).toBe(false);
  });
});

describe("topic rules", () => {
  const device = { kind: "device" as const, id: "cam-1" };
  it("let a device write its own uplink messages and nothing else", () => {
    for (const message of Object.values(messages)) {
      const own = mayPublish(device, topicOf(message, "acme", "cam-1"), "acme");
      expect(own, message.name).toBe(message.direction === "up");
      expect(mayPublish(device, topicOf(message, "acme", "cam-2"), "acme")).toBe(false);
      expect(mayPublish(device, topicOf(message, "other", "cam-1"), "acme")).toBe(false);
    }
  });
  it("let a claim reach enrolment only, and each read only what is its own", () => {
    const claim = { kind: "claim" as const, id: "c-1" };
    for (const message of Object.values(messages)) {
      expect(mayPublish(claim, topicOf(message, "acme", "c-1"), "acme")).toBe(
        message.direction === "claim-up",
      );
    }
    expect(maySubscribe(device, deviceFilter("acme", "cam-1"), "acme")).toBe(true);
    expect(maySubscribe(device, deviceFilter("acme", "cam-2"), "acme")).toBe(false);
    expect(maySubscribe(claim, deviceFilter("acme", "cam-1"), "acme")).toBe(false);
  });
});

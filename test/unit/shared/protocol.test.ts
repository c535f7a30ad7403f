/** Every message of the protocol: recorded bytes still decode, hostile bytes get codes. */
import { readdirSync, readFileSync } from "node:fs";
import { encode } from "cborg";
import { describe, expect, it } from "vitest";
import {
  decodeMessage,
  encodeMessage,
  type MessageDefinition,
} from "../../../shared/protocol/message.ts";
import { type MessageName, messageOfTopic, messages } from "../../../shared/protocol/registry.ts";
import { topicOf } from "../../../shared/protocol/topics.ts";
import { sampleEnvelope, samplePayloads } from "../../helpers/sample-payloads.ts";

const folder = new URL("../../fixtures/protocol/", import.meta.url);
const names = Object.keys(messages) as MessageName[];
const definition = (name: MessageName) => messages[name] as MessageDefinition;

describe("recorded messages", () => {
  it.each(names)("%s has a fixture of its version, and it still decodes", (name) => {
    const message = definition(name);
    const bytes = new Uint8Array(readFileSync(new URL(`${name}-v${message.version}.cbor`, folder)));
    const decoded = decodeMessage(message, bytes);
    expect(decoded.payload).toEqual(samplePayloads[name]);
    expect(decoded.envelope).toEqual({ v: message.version, ...sampleEnvelope });
  });

  it("belongs to a known message, each one", () => {
    for (const file of readdirSync(folder)) {
      expect(names).toContain(file.replace(/-v\d+\.cbor$/, ""));
    }
  });
});

describe("topics", () => {
  it.each(names)("lead back to %s", (name) => {
    const topic = topicOf(definition(name), "acme", "cam-1");
    expect(messageOfTopic(topic)).toMatchObject({
      name,
      address: { tenant: "acme", device: "cam-1" },
    });
  });

  it.each([
    "fleetfit/v1/acme/up/0/cam-1/desired",
    "fleetfit/v1/acme/up/63/cam-1/birth",
    "fleetfit/v1/acme/d/cam-1/unknown",
    "fleetfit/v2/acme/d/cam-1/ack",
    "fleetfit/v1/acme/d/../ack",
    "",
  ])("refuses %j", (topic) => {
    expect(() => messageOfTopic(topic)).toThrow(
      expect.objectContaining({ code: "message-unknown" }),
    );
  });
});

describe("hostile bytes", () => {
  const birth = definition("birth");
  const good = encodeMessage(birth, sampleEnvelope, samplePayloads.birth);
  const code = (bytes: Uint8Array) => {
    try {
      decodeMessage(birth, bytes);
    } catch (error) {
      return (error as { code?: string }).code;
    }
    return "accepted";
  };
  const frame = (change: object) =>
    encode({ v: 1, ...sampleEnvelope, payload: samplePayloads.birth, ...change });

  it("are refused with a code each", () => {
    expect(code(new Uint8Array(birth.bytesMax + 1000))).toBe("message-too-large");
    expect(code(frame({ v: 2 }))).toBe("message-version-unknown");
    expect(code(frame({ payload: { session: "3" } }))).toBe("message-malformed");
    expect(code(frame({ device: "../../etc" }))).toBe("message-malformed");
    expect(code(new Uint8Array(0))).toBe("message-malformed");
    expect(code(new Uint8Array([...good, 0]))).toBe("message-malformed");
    expect(code(new Uint8Array(3_000).fill(0x81))).toBe("message-malformed");
  });

  it("never bring a cost table that is too long, of negative times, or without a reason to be none", () => {
    const table = definition("cost-table");
    const good = samplePayloads["cost-table"];
    const [entry] = good.table!.entries;
    const entries = (count: number, change: object = {}) =>
      Array.from({ length: count }, () => ({ ...entry, ...change }));
    const codeOf = (change: object) => {
      const payload = { ...good, ...change };
      try {
        decodeMessage(table, encode({ v: 1, ...sampleEnvelope, payload }));
      } catch (error) {
        return (error as { code?: string }).code;
      }
      return "accepted";
    };
    expect(codeOf({ table: { entries: entries(200) } })).toBe("accepted");
    expect(codeOf({ table: { entries: entries(201) } })).toBe("message-malformed");
    expect(codeOf({ table: { entries: entries(100_000) } })).toBe("message-too-large");
    const hostile = [{ timeNs: -1 }, { timeNs: Number.NaN }, { timeNs: 1e300 }, { channels: 0 }];
    for (const change of [...hostile, { operator: "format-disk" }]) {
      expect(codeOf({ table: { entries: entries(1, change) } })).toBe("message-malformed");
    }
    expect(codeOf({ table: null })).toBe("message-malformed");
    expect(codeOf({ failure: { code: "x", why: "both" } })).toBe("message-malformed");
  });

  it("never do worse than a code, whatever byte is wrong or missing", () => {
    for (let at = 0; at < good.length; at++) {
      const flipped = good.slice();
      flipped[at]! ^= 0xff;
      expect(["accepted", "message-malformed", "message-version-unknown"]).toContain(code(flipped));
      expect(code(good.slice(0, at))).toBe("message-malformed");
    }
  });
});

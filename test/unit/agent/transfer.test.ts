/** Transfer by pull, on real files and a real database: what is lost, cut off, too long or damaged. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentContext } from "../../../agent/context.ts";
import { partPath, storedPath } from "../../../agent/paths.ts";
import { bitmapOf, hasBit, missingFrom, setBit } from "../../../agent/transfer/bitmap.ts";
import { mqttSource } from "../../../agent/transfer/mqtt-source.ts";
import { systemFiles } from "../../../shared/adapters/system-files.ts";
import { sha256Hex } from "../../../shared/artifact/hash.ts";
import { FleetError } from "../../../shared/errors.ts";
import type { Clock } from "../../../shared/ports/clock.ts";
import type { Files } from "../../../shared/ports/files.ts";
import { seededRandom } from "../../../shared/prng.ts";
import { blockBytes } from "../../../shared/protocol/messages/artifact-transfer.ts";
import type { PayloadOf } from "../../../shared/protocol/registry.ts";
import { type AgentFolder, agentFolder } from "../../helpers/agent-context.ts";
import { realPorts } from "../../helpers/test-controller.ts";

type Request = PayloadOf<"artifact-request">;
type Block = PayloadOf<"artifact-block">;

const random = seededRandom(5);
/** 150 blocks and a short one: three requests. */
const artifact = Uint8Array.from({ length: 150 * blockBytes + 123 }, () => random.nextInt(256));
const ref = { sha256: sha256Hex(artifact), bytes: artifact.byteLength };
const blocks = Math.ceil(ref.bytes / blockBytes);

/** Waits that the source makes for lost blocks take no time here. */
const hurried: Clock = {
  ...realPorts().clock,
  after: (_delayMs, run) => realPorts().clock.after(20, run),
};

let home: AgentFolder;
beforeEach(() => {
  home = agentFolder();
});
afterEach(() => home.remove());

function blockOf(index: number, change: Partial<Block> = {}): Block {
  const data = artifact.slice(index * blockBytes, (index + 1) * blockBytes);
  return { sha256: ref.sha256, totalBytes: ref.bytes, index, data, ...change };
}

const wantedBy = ({ firstBlock, missing }: Request): number[] =>
  Array.from({ length: missing.byteLength * 8 }, (_, bit) => bit)
    .filter((bit) => hasBit(missing, bit))
    .map((bit) => firstBlock + bit);

/** A source whose requests are answered by `answer`, block by block. */
function sourceOn(
  context: AgentContext,
  answer: (index: number, request: number) => Block | undefined,
) {
  const requests: number[][] = [];
  const source = mqttSource(context, async (request) => {
    const wanted = wantedBy(request);
    const number = requests.push(wanted);
    for (const index of wanted) {
      const block = answer(index, number);
      if (block !== undefined) source.onBlock(block);
    }
  });
  const fetch = (signal = new AbortController().signal) => source.fetch(ref, signal, () => {});
  return { source, requests, fetch };
}

const stored = () => readFileSync(storedPath(home.folder, ref.sha256));

describe("a bitmap", () => {
  it("names what is missing from the first missing block on", () => {
    const present = bitmapOf(20);
    for (const index of [0, 1, 3, 10]) setBit(present, index);
    const wanted = missingFrom(present, 20, 8);
    expect(wanted).toMatchObject({ firstBlock: 2, count: 7 });
    expect([0, 1, 2, 7].map((bit) => hasBit(wanted!.missing, bit))).toEqual([
      true,
      false,
      true,
      true,
    ]);
  });
  it("names nothing when all is there", () => {
    const present = bitmapOf(3);
    for (const index of [0, 1, 2]) setBit(present, index);
    expect(missingFrom(present, 3, 64)).toBeUndefined();
  });
});

describe("a transfer", () => {
  it("brings the artifact into the store, and then not again", async () => {
    const { requests, fetch } = sourceOn(home.open(), (index) => blockOf(index));
    await fetch();
    expect(sha256Hex(stored())).toBe(ref.sha256);
    expect(requests.map((wanted) => wanted.length)).toEqual([64, 64, blocks - 128]);
    await fetch();
    expect(requests.length).toBe(3);
    expect(existsSync(partPath(home.folder, ref.sha256))).toBe(false);
  });

  it("asks again for lost blocks and for nothing else", async () => {
    const context = home.open({ clock: hurried });
    const { requests, fetch } = sourceOn(context, (index, request) =>
      request === 1 && index % 3 === 0 ? undefined : blockOf(index),
    );
    await fetch();
    expect(sha256Hex(stored())).toBe(ref.sha256);
    const lost = requests[0]!.filter((index) => index % 3 === 0);
    expect(requests[1]!.filter((index) => index < 64)).toEqual(lost);
  });

  it("goes on after a power cut with what was durable", async () => {
    const cut = new AbortController();
    const first = sourceOn(home.open(), (index, request) => {
      if (request === 1) return blockOf(index);
      cut.abort(new Error("cut"));
      return undefined;
    });
    await expect(first.fetch(cut.signal)).rejects.toThrow("cut");
    const second = sourceOn(home.open(), (index) => blockOf(index));
    await second.fetch();
    expect(second.requests.flat()).toEqual(
      Array.from({ length: blocks - 64 }, (_, index) => index + 64),
    );
    expect(sha256Hex(stored())).toBe(ref.sha256);
  });

  it("never stores a bitmap that names a block which is not synced", async () => {
    const unsynced = new Set<number>();
    const files = systemFiles();
    const watched: Files = {
      ...files,
      async open(path, mode) {
        const file = await files.open(path, mode);
        return {
          ...file,
          async write(bytes, positionBytes) {
            unsynced.add(positionBytes / blockBytes);
            await file.write(bytes, positionBytes);
          },
          async sync() {
            const before = [...unsynced];
            await file.sync();
            for (const index of before) unsynced.delete(index);
          },
        };
      },
    };
    const context = home.open({ files: watched });
    const claims: number[] = [];
    const store: AgentContext["store"] = {
      ...context.store,
      saveTransfer(sha256, bytes, present) {
        claims.push([...unsynced].filter((index) => hasBit(present, index)).length);
        context.store.saveTransfer(sha256, bytes, present);
      },
    };
    await sourceOn({ ...context, store }, (index) => blockOf(index)).fetch();
    expect(claims).toEqual([0, 0, 0]);
  });

  it.each([
    ["a longer total", { totalBytes: ref.bytes + 1 }, "artifact-too-long"],
    ["a block beyond the end", { index: blocks }, "artifact-too-long"],
    ["a block that is too long", { data: new Uint8Array(blockBytes + 1) }, "artifact-too-long"],
    ["a block that is too short", { data: new Uint8Array(1) }, "artifact-mismatch"],
    ["other bytes", { data: new Uint8Array(blockBytes) }, "artifact-mismatch"],
  ])("ends on %s as %s %s", async (_what, change, code) => {
    const { fetch } = sourceOn(home.open(), (index) => blockOf(index, index === 2 ? change : {}));
    await expect(fetch()).rejects.toMatchObject({ code });
    expect(existsSync(storedPath(home.folder, ref.sha256))).toBe(false);
  });

  it("starts anew once when what an earlier run left is damaged", async () => {
    const cut = new AbortController();
    const first = sourceOn(home.open(), (index, request) => {
      if (request === 1) return blockOf(index);
      cut.abort(new Error("cut"));
      return undefined;
    });
    await expect(first.fetch(cut.signal)).rejects.toThrow("cut");
    const part = partPath(home.folder, ref.sha256);
    const bytes = readFileSync(part);
    bytes[100]! ^= 1;
    writeFileSync(part, bytes);
    await sourceOn(home.open(), (index) => blockOf(index)).fetch();
    expect(sha256Hex(stored())).toBe(ref.sha256);
  });

  it("ends when the controller will not send it", async () => {
    const refusal = { sha256: ref.sha256, code: "artifact-missing", reason: "no such artifact" };
    const { source, fetch } = sourceOn(home.open(), () => {
      source.onRefused(refusal);
      return undefined;
    });
    await expect(fetch()).rejects.toMatchObject({ code: "artifact-missing" });
  });

  it("names a full disk, and claims nothing of what was not written", async () => {
    const files = systemFiles();
    let room = 70;
    const full: Files = {
      ...files,
      async open(path, mode) {
        const file = await files.open(path, mode);
        return {
          ...file,
          async write(bytes, positionBytes) {
            if (room-- <= 0) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
            await file.write(bytes, positionBytes);
          },
        };
      },
    };
    const context = home.open({ files: full });
    const { fetch } = sourceOn(context, (index) => blockOf(index));
    const error = await fetch().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(FleetError);
    expect(error).toMatchObject({ code: "disk-full" });
    const claimed = context.store.transfer(ref.sha256)!.present;
    expect(Array.from({ length: blocks }, (_, index) => hasBit(claimed, index))).toEqual(
      Array.from({ length: blocks }, (_, index) => index < 64),
    );
    expect(existsSync(join(home.folder, "store", ref.sha256))).toBe(false);
  });
});

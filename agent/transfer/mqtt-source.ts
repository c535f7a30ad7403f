/**
 * Pull over MQTT: ask for the missing blocks, write those that come, ask again for the rest.
 *
 * Invariants: the stored bitmap never names a block that is not fsynced; no more bytes are written
 * than the signed length; the artifact enters the store only with the right hash.
 */
import { FleetError } from "../../shared/errors.ts";
import { makeFolderDurable } from "../../shared/files/durable-folder.ts";
import { hashFile } from "../../shared/files/hash-file.ts";
import type { OpenFile } from "../../shared/ports/files.ts";
import {
  blockBytes,
  blocksPerRequestMax,
} from "../../shared/protocol/messages/artifact-transfer.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { AgentContext } from "../context.ts";
import { partPath, storeDir, storedPath, transferDir } from "../paths.ts";
import { worldError } from "../world-error.ts";
import type { ArtifactRef, ArtifactSource } from "./artifact-source.ts";
import { bitmapOf, hasBit, missingFrom, setBit } from "./bitmap.ts";

/** A request that brought nothing for this long, plus as much jitter, is sent again. */
const idleMs = 2_000;

type Block = PayloadOf<"artifact-block">;
interface Incoming {
  onBlock(block: Block): void;
  onRefused(error: FleetError): void;
}

export interface MqttSource extends ArtifactSource {
  readonly onBlock: (block: Block) => void;
  readonly onRefused: (refusal: PayloadOf<"artifact-refused">) => void;
}

export function mqttSource(
  context: AgentContext,
  request: (payload: PayloadOf<"artifact-request">) => Promise<void>,
): MqttSource {
  const incoming = new Map<string, Incoming>();
  return {
    onBlock: (block) => incoming.get(block.sha256)?.onBlock(block),
    onRefused(refusal) {
      const error = new FleetError(
        "artifact-missing",
        `the controller has no ${refusal.sha256}: ${refusal.reason}`,
      );
      incoming.get(refusal.sha256)?.onRefused(error);
    },
    async fetch(ref, signal, onProgress) {
      if ((await context.files.stat(storedPath(context.dataDir, ref.sha256))) !== undefined) return;
      const resumed = context.store.transfer(ref.sha256) !== undefined;
      const whole = { context, ref, signal, onProgress, request, incoming };
      try {
        await transfer(whole);
        if (await finish(context, ref)) return;
        // What an earlier run left may be damaged, so it is not held against the sender.
        if (resumed) await transfer(whole);
        if (!(resumed && (await finish(context, ref)))) {
          throw new FleetError("artifact-mismatch", `the bytes of ${ref.sha256} are others`);
        }
      } catch (error) {
        throw worldError(error) ?? error;
      }
    },
  };
}

interface Transfer {
  readonly context: AgentContext;
  readonly ref: ArtifactRef;
  readonly signal: AbortSignal;
  readonly onProgress: (fraction: number) => void;
  readonly request: (payload: PayloadOf<"artifact-request">) => Promise<void>;
  readonly incoming: Map<string, Incoming>;
}

async function transfer(t: Transfer): Promise<void> {
  const { context, ref } = t;
  const blocks = Math.ceil(ref.bytes / blockBytes);
  const path = partPath(context.dataDir, ref.sha256);
  await makeFolderDurable(context.files, context.dataDir, transferDir(context.dataDir));
  const present = await rememberedBlocks(context, ref, blocks);
  const file = await context.files.open(path, "update");
  try {
    await context.files.syncDirectory(transferDir(context.dataDir));
    for (;;) {
      const wanted = missingFrom(present, blocks, blocksPerRequestMax);
      if (wanted === undefined) return;
      const got = await oneRequest(t, file, present, wanted);
      if (got > 0) {
        await file.sync();
        context.store.saveTransfer(ref.sha256, ref.bytes, present);
      }
      t.onProgress(countBits(present, blocks) / blocks);
    }
  } finally {
    await file.close();
  }
}

/** Blocks that an earlier run fsynced; none when the part file is gone. */
async function rememberedBlocks(
  context: AgentContext,
  ref: ArtifactRef,
  blocks: number,
): Promise<Uint8Array> {
  const row = context.store.transfer(ref.sha256);
  const file = await context.files.stat(partPath(context.dataDir, ref.sha256));
  if (row === undefined || file === undefined || row.totalBytes !== ref.bytes)
    return bitmapOf(blocks);
  return new Uint8Array(row.present);
}

/** Sends one request and writes what comes until all of it is there or nothing comes any more. */
function oneRequest(
  t: Transfer,
  file: OpenFile,
  present: Uint8Array,
  wanted: { firstBlock: number; missing: Uint8Array; count: number },
): Promise<number> {
  const { context, ref } = t;
  return new Promise((resolve, reject) => {
    let left = wanted.count;
    let got = 0;
    let writing: Promise<void> = Promise.resolve();
    let cancel = () => {};
    const settle = (finish: () => void) => {
      cancel();
      t.signal.removeEventListener("abort", abort);
      t.incoming.delete(ref.sha256);
      writing.then(finish, reject);
    };
    const abort = () => settle(() => reject(t.signal.reason));
    const restartTimer = () => {
      cancel();
      cancel = context.clock.after(idleMs * (1 + context.random.fraction()), () =>
        settle(() => resolve(got)),
      );
    };
    if (t.signal.aborted) return abort();
    t.signal.addEventListener("abort", abort);
    t.incoming.set(ref.sha256, {
      onRefused: (error) => settle(() => reject(error)),
      onBlock(block) {
        const fault = blockFault(ref, block);
        if (fault !== undefined) return settle(() => reject(fault));
        if (hasBit(present, block.index)) return;
        setBit(present, block.index);
        writing = writing.then(() => file.write(block.data, block.index * blockBytes));
        writing.catch(() => {});
        got++;
        left--;
        if (left === 0) settle(() => resolve(got));
        else restartTimer();
      },
    });
    restartTimer();
    t.request({ sha256: ref.sha256, firstBlock: wanted.firstBlock, missing: wanted.missing }).catch(
      () => {},
    );
  });
}

function blockFault(ref: ArtifactRef, block: Block): FleetError | undefined {
  const blocks = Math.ceil(ref.bytes / blockBytes);
  if (block.totalBytes > ref.bytes || block.index >= blocks) {
    return new FleetError(
      "artifact-too-long",
      `${ref.sha256} has ${ref.bytes} bytes; ${block.totalBytes} were announced`,
    );
  }
  const expected = Math.min(blockBytes, ref.bytes - block.index * blockBytes);
  if (block.data.byteLength > expected) {
    return new FleetError("artifact-too-long", `block ${block.index} of ${ref.sha256} is too long`);
  }
  if (block.data.byteLength < expected || block.totalBytes !== ref.bytes) {
    return new FleetError(
      "artifact-mismatch",
      `block ${block.index} of ${ref.sha256} is too short`,
    );
  }
  return undefined;
}

/** Verifies the whole part file and moves it into the store; false, and it is gone, when it is wrong. */
async function finish(context: AgentContext, ref: ArtifactRef): Promise<boolean> {
  const { files, dataDir, store } = context;
  const path = partPath(dataDir, ref.sha256);
  const found = await hashFile(files, path);
  store.dropTransfer(ref.sha256);
  if (found?.sha256 !== ref.sha256 || found.bytes !== ref.bytes) {
    await files.remove(path);
    return false;
  }
  await makeFolderDurable(files, dataDir, storeDir(dataDir));
  await files.rename(path, storedPath(dataDir, ref.sha256));
  await files.syncDirectory(storeDir(dataDir));
  return true;
}

function countBits(present: Uint8Array, blocks: number): number {
  let count = 0;
  for (let index = 0; index < blocks; index++) if (hasBit(present, index)) count++;
  return count;
}

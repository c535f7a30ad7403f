/**
 * The models that another process has this one run, one at a time: tensors in, tensors out.
 *
 * Invariants: calls are served in the order in which they come, so that an earlier one is done
 * first; a call that names a model which is no longer open is refused.
 */
import { FleetError } from "../errors.ts";
import type { OutputTensor } from "./processing/answer.ts";
import type { RunnerAnswers } from "./runner-protocol.ts";
import { type Feed, openSession, type Session } from "./session.ts";

export class OpenedModels {
  #session: Session | undefined;
  #opened = 0;
  #turn: Promise<unknown> = Promise.resolve();

  /** Opens a file in place of the one before, and runs it as it is, as a calibration needs it. */
  open(opened: number, modelBytes: Uint8Array): Promise<RunnerAnswers["open"]> {
    return this.#inTurn(async () => {
      await this.#release();
      const session = await openSession(modelBytes, { optimization: "disabled" });
      this.#session = session;
      this.#opened = opened;
      const ranks = session.inputs.map(({ name, shape }) => [name, shape.length]);
      return { opened, ranks: Object.fromEntries(ranks) };
    });
  }

  run(
    opened: number,
    feeds: Readonly<Record<string, Feed>>,
  ): Promise<Record<string, OutputTensor>> {
    return this.#inTurn(async () => {
      const session = this.#session;
      if (session === undefined || opened !== this.#opened) {
        throw new FleetError("model-missing", "the model is no longer open");
      }
      return session.run(feeds);
    });
  }

  shut(opened: number): Promise<null> {
    return this.#inTurn(async () => {
      if (opened === this.#opened) await this.#release();
      return null;
    });
  }

  async #release(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.release();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

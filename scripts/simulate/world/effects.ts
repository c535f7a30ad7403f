/**
 * Every effect that a program has on its surroundings, numbered in the order it has them: a call of a
 * port that writes, sends or starts something. A plan says what happens to each, so that a run can be
 * told to lose power at effect k, or to find the disk full there.
 *
 * Invariant: after a cut the program has no effect any more: its waiting calls never return, and what it
 * still writes to its database goes to a copy that nobody reads.
 */

export type EffectKind = "file" | "database" | "mqtt" | "process";

export interface Effect {
  readonly number: number;
  readonly kind: EffectKind;
  /** What is done to what, e.g. `rename models/digits/b/model.onnx`. */
  readonly name: string;
  /** True for a call that only reads: it may fail, but a cut before and after it are the same. */
  readonly reads: boolean;
}

/** What becomes of an effect. */
export type Fate = "done" | "cut-before" | "cut-inside" | "cut-after" | { readonly fails: Error };

export type Plan = (effect: Effect) => Fate;

/** What reached the disk when the power went. */
export type CutMode =
  /** Nothing that was not fsynced: neither content nor names. */
  | "dropped"
  /** New names did, content that was not fsynced did not. */
  | "names-kept"
  /** All but the last write of each file, of which only whole 512-byte sectors did. */
  | "torn"
  /** Everything: the process was killed and the machine lived on. */
  | "kept";

export interface Power {
  isOn(): boolean;
  /** Ends the program here. */
  cut(): void;
  /** An effect that may wait; `inside` does a part of it. */
  act<T>(call: EffectCall<T | Promise<T>>): Promise<T>;
  /** An effect that returns at once. */
  actNow<T>(call: EffectCall<T>): T;
}

export interface EffectCall<T> {
  readonly kind: EffectKind;
  readonly name: string;
  readonly reads?: boolean;
  readonly perform: () => T;
  readonly inside?: () => void;
}

export const never = <T>(): Promise<T> => new Promise<T>(() => {});

export function createPower(options: { plan: Plan; onCut: () => void }): Power {
  let on = true;
  let next = 0;
  const cut = () => {
    if (!on) return;
    on = false;
    options.onCut();
  };
  /** True when the call goes on as if nothing had happened. */
  const perform = <T>({ kind, name, reads = false, perform, inside }: EffectCall<T>): T => {
    const fate = on ? options.plan({ number: next++, kind, name, reads }) : "done";
    if (typeof fate === "object") throw fate.fails;
    if (fate === "cut-inside") inside?.();
    if (fate === "cut-before" || fate === "cut-inside") cut();
    const value = perform();
    if (fate === "cut-after") cut();
    return value;
  };
  return {
    isOn: () => on,
    cut,
    async act<T>(call: EffectCall<T | Promise<T>>): Promise<T> {
      if (!on) return never();
      // Cut before it was done: there is nothing to do and nobody to tell.
      const value = await perform<T | Promise<T>>({
        ...call,
        perform: () => (on ? call.perform() : never<T>()),
      });
      return on ? value : never();
    },
    actNow: perform,
  };
}

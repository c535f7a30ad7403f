/**
 * Lets devices in only while the controller listens: a birth that nobody hears would be lost, since the
 * broker keeps nothing.
 */

export interface Gate {
  open(): void;
  close(): void;
  /** Resolves while the gate is open, else when it opens. */
  passage(): Promise<void>;
}

export function createGate(): Gate {
  let waiting = Promise.withResolvers<void>();
  let isOpen = false;
  return {
    open() {
      isOpen = true;
      waiting.resolve();
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      waiting = Promise.withResolvers();
    },
    passage: () => waiting.promise,
  };
}

/** A value that is computed when it is asked for after a change, and not at each look. */
export interface Kept<T> {
  get(): T;
  changed(): void;
}

export function kept<T>(compute: () => T): Kept<T> {
  let value: T | undefined;
  return {
    get() {
      value ??= compute();
      return value;
    },
    changed() {
      value = undefined;
    },
  };
}

/** The full range of what was seen. */
import type { Observer } from "./observer.ts";

export function minMaxObserver(): Observer {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  return {
    observe(values) {
      for (const value of values) {
        if (value < min) min = value;
        if (value > max) max = value;
      }
    },
    range: () => (min > max ? { min: 0, max: 0 } : { min, max }),
  };
}

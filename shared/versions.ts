/** Order of dotted version numbers, as agents, runtimes and manifests name them. */

/** Compares dotted numbers; a missing part counts as 0. Below 0 when `a` is older. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(/[.-]/).map(Number)) as [
    number[],
    number[],
  ];
  for (let part = 0; part < 3; part++) {
    const difference = (left[part] || 0) - (right[part] || 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

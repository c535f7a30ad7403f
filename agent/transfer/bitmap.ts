/** A bit per block, lowest bit first. */

export function bitmapOf(blocks: number): Uint8Array {
  return new Uint8Array(Math.ceil(blocks / 8));
}
export function hasBit(bitmap: Uint8Array, index: number): boolean {
  return ((bitmap[index >> 3]! >> (index & 7)) & 1) === 1;
}
export function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >> 3]! |= 1 << (index & 7);
}

/** Up to `most` missing blocks from the first missing one on, as a request names them. */
export function missingFrom(
  present: Uint8Array,
  blocks: number,
  most: number,
): { firstBlock: number; missing: Uint8Array; count: number } | undefined {
  let firstBlock = 0;
  while (firstBlock < blocks && hasBit(present, firstBlock)) firstBlock++;
  if (firstBlock === blocks) return undefined;
  const span = Math.min(most, blocks - firstBlock);
  const missing = bitmapOf(span);
  let count = 0;
  for (let offset = 0; offset < span; offset++) {
    if (hasBit(present, firstBlock + offset)) continue;
    setBit(missing, offset);
    count++;
  }
  return { firstBlock, missing, count };
}

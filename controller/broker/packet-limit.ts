/**
 * Ends a connection whose next MQTT packet announces more bytes than any message may have, before the
 * parser behind it buffers them (MQTT 3.1.1 §2.2.3: remaining length, 1 to 4 bytes of 7 bits).
 */
import { Transform, type TransformCallback } from "node:stream";

export function packetLimit(bytesMax: number): Transform {
  let header = 0;
  let length = 0;
  let shift = 0;
  let skip = 0;
  const advance = (chunk: Buffer): string | undefined => {
    let at = 0;
    while (at < chunk.length) {
      if (skip > 0) {
        const step = Math.min(skip, chunk.length - at);
        skip -= step;
        at += step;
        continue;
      }
      const byte = chunk[at++]!;
      if (header === 0) {
        header = 1;
        length = 0;
        shift = 0;
        continue;
      }
      length += (byte & 0x7f) * 2 ** shift;
      shift += 7;
      if (byte >= 0x80 && shift < 28) continue;
      if (byte >= 0x80 || length > bytesMax)
        return `a packet announces ${length} bytes; the limit is ${bytesMax}`;
      skip = length;
      header = 0;
    }
    return undefined;
  };
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      const fault = advance(chunk);
      if (fault === undefined) done(null, chunk);
      else done(new Error(fault));
    },
  });
}

/** Messages to many devices, several of them under way at a time. */

/** One by one, each message would wait for the broker's answer to the one before. */
const inFlightMax = 64;

/** Sends to each of `devices`, in batches and in their order; resolves when the last one is out. */
export async function toEach<Device>(
  devices: readonly Device[],
  send: (device: Device) => Promise<void>,
): Promise<void> {
  for (let at = 0; at < devices.length; at += inFlightMax) {
    await Promise.all(devices.slice(at, at + inFlightMax).map(send));
  }
}

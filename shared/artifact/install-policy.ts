/**
 * When a device may install: inside a window of its local time, on mains or above a battery floor. The
 * region states it, the manifest carries it signed, the device decides by it.
 *
 * Invariant: the default allows everything, so a manifest without a policy means what it always meant.
 */
import { z } from "zod";

export const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

/** Minutes of a day: the end of a window may be the midnight that ends it. */
const dayMinutes = 1_440;
const timePattern = /^([01]\d|2[0-3]):[0-5]\d$|^24:00$/;

const timeSchema = z.string().regex(timePattern, "a time of day as HH:MM");

/** Days on which it opens, by the local clock; it closes the next day when `to` is not after `from`. */
export const installWindowSchema = z
  .strictObject({
    days: z
      .array(z.enum(weekdays))
      .min(1)
      .max(7)
      .default([...weekdays]),
    from: timeSchema,
    to: timeSchema,
  })
  .refine(({ from, to }) => from !== to, "a window needs a length; a whole day is 00:00 to 24:00");
export type InstallWindow = z.infer<typeof installWindowSchema>;

export const installWindowsSchema = z.array(installWindowSchema).max(32);
/** A device on battery installs only with at least this charge; 0 asks nothing. */
export const batteryFractionMinSchema = z.number().min(0).max(1);

export const installPolicySchema = z.object({
  /** IANA name of the zone whose clock the windows are read by. */
  timeZone: z.string().min(1).max(64),
  /** Empty: always open. */
  windows: installWindowsSchema,
  batteryFractionMin: batteryFractionMinSchema,
});
export type InstallPolicy = z.infer<typeof installPolicySchema>;

export const installAlways: InstallPolicy = { timeZone: "UTC", windows: [], batteryFractionMin: 0 };

/** Minutes since midnight of a valid time of day, 0 to 1,440. */
export function minutesOf(time: string): number {
  const [hours = 0, minutes = 0] = time.split(":").map(Number);
  return hours * 60 + minutes;
}

/** Minutes that a window stays open by the local clock, 1 to 1,440. */
export function lengthMinutes({ from, to }: InstallWindow): number {
  const difference = minutesOf(to) - minutesOf(from);
  return difference > 0 ? difference : difference + dayMinutes;
}

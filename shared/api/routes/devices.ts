/** Claims and devices. */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { deviceIdSchema, labelsSchema, nameSchema, regionSchema } from "../../artifact/names.ts";
import { profileSchema } from "../../devices/profile.ts";
import { costTableSchema } from "../../inference/cost-table.ts";
import { failureSchema } from "../../protocol/messages/measurement.ts";
import { waitingSchema } from "../../protocol/messages/reported.ts";
import { defineRoute } from "../route.ts";
import { attemptSchema } from "./rollouts.ts";

const classExplanationSchema = z
  .object({
    deviceClass: z.string(),
    matches: z.boolean(),
    /** One sentence per rule that does not hold. */
    reasons: z.array(z.string()),
  })
  .meta({ id: "ClassExplanation" });

export const deviceSchema = z
  .object({
    id: z.string(),
    region: z.string(),
    labels: z.record(z.string(), z.string()),
    deviceClass: z.string().nullable(),
    online: z.boolean(),
    standing: z.string(),
    standingReason: z.string().nullable(),
    /** True when the device declares other hardware than it has. */
    emulated: z.boolean(),
    agentVersion: z.string(),
    lastSeenAtMs: z.int().nullable(),
    profile: profileSchema,
    /** What it reported to run, by model. */
    models: z.record(
      z.string(),
      z.object({
        committed: z
          .object({
            bundleSha256: sha256Schema,
            version: z.string(),
            recipe: z.string(),
            releaseCounter: z.int(),
          })
          .nullable(),
        servingSha256: sha256Schema.nullable(),
        releaseCounterHighest: z.int(),
        update: z
          .object({
            attempt: z.string(),
            state: z.string(),
            progressFraction: z.number(),
            /** Set while it waits for a hold to end, its install window or power. */
            waiting: waitingSchema.nullable().default(null),
          })
          .nullable(),
      }),
    ),
  })
  .meta({ id: "Device" });
export type DeviceAnswer = z.infer<typeof deviceSchema>;

/** What operators cost on the hardware of a device. */
export const deviceCostsSchema = z
  .object({
    device: z.string(),
    /** What of its profile decides how a file runs. */
    processor: profileSchema.pick({ architecture: true, isa: true, cpuModel: true }),
    /** True while the device is asked. */
    pending: z.boolean(),
    /** Why the newest order brought no table. */
    failure: failureSchema.nullable(),
    measured: z
      .object({
        /** One that has this hardware. */
        device: z.string(),
        fingerprint: z.string(),
        table: costTableSchema,
        emulated: z.boolean(),
        /** True when the machine did much else meanwhile. */
        degraded: z.boolean(),
        measuredAtMs: z.int(),
      })
      .nullable(),
    /** In which steps the processor's kernels take channels; null where the table does not tell. */
    steps: z
      .object({
        float32Multiple: z.int(),
        int8Multiple: z.int(),
        int8UnalignedFactor: z.number(),
      })
      .nullable(),
  })
  .meta({ id: "DeviceCosts" });
export type DeviceCostsAnswer = z.infer<typeof deviceCostsSchema>;

const deviceParams = z.object({ device: deviceIdSchema });

export const deviceRoutes = {
  createClaim: defineRoute({
    method: "POST",
    path: "/v1/claims",
    summary: "Makes a one-time token with which one device enrols.",
    tag: "devices",
    body: z.object({
      /** Wanted device id; one is drawn when it is left out. */
      device: deviceIdSchema.optional(),
      region: regionSchema,
      labels: labelsSchema.default({}),
      /** How long the token is valid; an hour by default. */
      ttlMs: z
        .int()
        .min(1_000)
        .max(30 * 86_400_000)
        .optional(),
    }),
    answer: z.object({ id: nameSchema, token: z.string(), expiresAtMs: z.int() }),
    status: 201,
    errors: ["not-found", "conflict"],
  }),
  listDevices: defineRoute({
    method: "GET",
    path: "/v1/devices",
    summary: "All devices; filters narrow the list.",
    tag: "devices",
    query: z.object({
      class: nameSchema.optional(),
      region: regionSchema.optional(),
      online: z.enum(["true", "false"]).optional(),
    }),
    answer: z.object({ devices: z.array(deviceSchema) }),
  }),
  getDevice: defineRoute({
    method: "GET",
    path: "/v1/devices/{device}",
    summary: "One device, with the reason for its class.",
    tag: "devices",
    params: deviceParams,
    answer: deviceSchema.extend({ classes: z.array(classExplanationSchema) }),
    errors: ["not-found"],
  }),
  retireDevice: defineRoute({
    method: "POST",
    path: "/v1/devices/{device}/retire",
    summary: "Ends an identity for ever: its credential dies and never enrols again.",
    tag: "devices",
    params: deviceParams,
    body: z.object({ reason: z.string().min(1).max(500) }),
    answer: deviceSchema,
    errors: ["not-found"],
  }),
  getDeviceCosts: defineRoute({
    method: "GET",
    path: "/v1/devices/{device}/costs",
    summary:
      "What operators cost on the hardware of a device, as far as one of its kind was asked.",
    tag: "devices",
    params: deviceParams,
    answer: deviceCostsSchema,
    errors: ["not-found"],
  }),
  orderDeviceCosts: defineRoute({
    method: "POST",
    path: "/v1/devices/{device}/costs",
    summary:
      "Asks a device what operators cost on it; it times small models when it has nothing to update.",
    tag: "devices",
    params: deviceParams,
    body: z.object({}),
    answer: deviceCostsSchema,
    status: 201,
    errors: ["not-found", "conflict"],
  }),
  listDeviceAttempts: defineRoute({
    method: "GET",
    path: "/v1/devices/{device}/attempts",
    summary: "Every update that a device was told to try, newest last.",
    tag: "devices",
    params: deviceParams,
    answer: z.object({ attempts: z.array(attemptSchema) }),
    errors: ["not-found"],
  }),
};

export const deviceExplanationSchema = z.object({
  device: z.string(),
  deviceClass: z.string().nullable(),
  classes: z.array(classExplanationSchema),
});

/** Devices, claims, classes, regions. */
import { z } from "zod";
import { labelsSchema, nameSchema } from "../../../shared/artifact/names.ts";
import { profileSchema } from "../../../shared/devices/profile.ts";
import { explainClasses } from "../../fleet/classes.ts";
import { getDevice, listDevices, retireDevice } from "../../fleet/devices.ts";
import { attemptsOfDevice } from "../../rollout/service.ts";
import { createClaim } from "../../trust/claims.ts";
import { attemptSchema } from "./rollouts.ts";
import { type AnyRoute, defineRoute } from "./route.ts";

const deviceSchema = z
  .object({
    id: z.string(),
    region: z.string(),
    labels: z.record(z.string(), z.string()),
    deviceClass: z.string().nullable(),
    online: z.boolean(),
    standing: z.string(),
    standingReason: z.string().nullable(),
    emulated: z.boolean(),
    agentVersion: z.string(),
    lastSeenAtMs: z.number().nullable(),
    profile: profileSchema,
    models: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Device" });
const explanation = z.object({
  deviceClass: z.string(),
  matches: z.boolean(),
  reasons: z.array(z.string()),
});
const byId = z.object({ id: nameSchema });

export const fleetRoutes: readonly AnyRoute[] = [
  defineRoute({
    method: "GET",
    path: "/v1/devices",
    summary: "All devices",
    tag: "devices",
    answer: z.object({ devices: z.array(deviceSchema) }),
    handle: async ({ ctx }) => ({ devices: await listDevices(ctx) }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/devices/:id",
    summary: "One device",
    tag: "devices",
    params: byId,
    answer: deviceSchema,
    handle: ({ ctx }, { params }) => getDevice(ctx, params.id),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/devices/:id/attempts",
    summary: "What was tried on a device and what came of it",
    tag: "devices",
    params: byId,
    answer: z.object({ attempts: z.array(attemptSchema) }),
    handle: async ({ ctx }, { params }) => ({ attempts: await attemptsOfDevice(ctx, params.id) }),
  }),
  defineRoute({
    method: "POST",
    path: "/v1/devices/:id/retire",
    summary: "Retire an identity for ever",
    tag: "devices",
    params: byId,
    body: z.object({ reason: z.string().min(1).max(500) }),
    answer: deviceSchema,
    handle: ({ ctx }, { params, body }) => retireDevice(ctx, params.id, body.reason),
  }),
  defineRoute({
    method: "POST",
    path: "/v1/claims",
    summary: "A one-time claim token for one new device",
    tag: "devices",
    body: z.object({
      device: nameSchema.optional(),
      region: nameSchema,
      labels: labelsSchema.default({}),
      ttlMs: z
        .int()
        .min(1_000)
        .max(30 * 86_400_000)
        .optional(),
    }),
    answer: z.object({ id: z.string(), token: z.string(), expiresAtMs: z.number() }),
    handle: ({ ctx }, { body }) => createClaim(ctx, body),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/classes",
    summary: "Device classes as configured",
    tag: "fleet",
    answer: z.object({ classes: z.array(z.record(z.string(), z.unknown())) }),
    handle: async ({ ctx }) => ({ classes: ctx.fleet.classes }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/classes/check",
    summary: "Which class each device lands in, and why not in the others",
    tag: "fleet",
    answer: z.object({
      devices: z.array(
        z.object({
          id: z.string(),
          deviceClass: z.string().nullable(),
          classes: z.array(explanation),
        }),
      ),
    }),
    handle: async ({ ctx }) => ({
      devices: (await listDevices(ctx)).map((device) => ({
        id: device.id,
        deviceClass: device.deviceClass,
        classes: explainClasses(device, ctx.fleet.classes),
      })),
    }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/regions",
    summary: "Regions as configured",
    tag: "fleet",
    answer: z.object({ regions: z.array(z.record(z.string(), z.unknown())) }),
    handle: async ({ ctx }) => ({ regions: ctx.fleet.regions }),
  }),
];

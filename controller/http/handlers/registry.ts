/** The handler of every route of the contract. */
import type { RouteName } from "../../../shared/api/registry.ts";
import { alarmHandlers } from "./alarms.ts";
import { deviceHandlers } from "./devices.ts";
import { evidenceHandlers } from "./evidence.ts";
import type { Handlers } from "./handler.ts";
import { holdHandlers } from "./holds.ts";
import { jobHandlers } from "./jobs.ts";
import { modelHandlers } from "./models.ts";
import { rolloutHandlers } from "./rollouts.ts";
import { settingsHandlers } from "./settings.ts";
import { soakHandlers } from "./soaks.ts";
import { statusHandlers } from "./status.ts";
import { telemetryHandlers } from "./telemetry.ts";
import { tokenHandlers } from "./tokens.ts";

export const handlers: Handlers<RouteName> = {
  ...statusHandlers,
  ...deviceHandlers,
  ...modelHandlers,
  ...jobHandlers,
  ...rolloutHandlers,
  ...holdHandlers,
  ...evidenceHandlers,
  ...settingsHandlers,
  ...telemetryHandlers,
  ...alarmHandlers,
  ...tokenHandlers,
  ...soakHandlers,
};

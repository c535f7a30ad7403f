/** Every route of the API by name. A new one is one definition and, in the controller, one handler. */
import { alarmRoutes } from "./routes/alarms.ts";
import { deviceRoutes } from "./routes/devices.ts";
import { evidenceRoutes } from "./routes/evidence.ts";
import { holdRoutes } from "./routes/holds.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { modelRoutes } from "./routes/models.ts";
import { rolloutRoutes } from "./routes/rollouts.ts";
import { settingsRoutes } from "./routes/settings.ts";
import { soakRoutes } from "./routes/soaks.ts";
import { statusRoutes } from "./routes/status.ts";
import { telemetryRoutes } from "./routes/telemetry.ts";
import { tokenRoutes } from "./routes/tokens.ts";

export const routes = {
  ...statusRoutes,
  ...deviceRoutes,
  ...modelRoutes,
  ...jobRoutes,
  ...rolloutRoutes,
  ...holdRoutes,
  ...evidenceRoutes,
  ...settingsRoutes,
  ...telemetryRoutes,
  ...alarmRoutes,
  ...tokenRoutes,
  ...soakRoutes,
};

export type Routes = typeof routes;
export type RouteName = keyof Routes;

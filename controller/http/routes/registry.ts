/** Every JSON route of the API. */
import { fleetRoutes } from "./fleet.ts";
import { modelRoutes } from "./models.ts";
import { rolloutRoutes } from "./rollouts.ts";
import type { AnyRoute } from "./route.ts";

export const routes: readonly AnyRoute[] = [...fleetRoutes, ...modelRoutes, ...rolloutRoutes];

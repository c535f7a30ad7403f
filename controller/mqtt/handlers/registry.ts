/** What happens to each message that reaches the controller; a missing handler does not compile. */
import { onArtifactRequest } from "../../artifacts/block-server.ts";
import { onCostTable } from "../../measure/costs.ts";
import { onMeasurement } from "../../measure/service.ts";
import { onAttemptOutcome } from "../../rollout/outcome.ts";
import { onLabelRequest } from "../../soak/labels.ts";
import { onObservation, onSoakReport } from "../../soak/reports.ts";
import { onBirth } from "./birth.ts";
import { onDeath } from "./death.ts";
import { onEnrolRequest } from "./enrol-request.ts";
import type { DirectHandler, DirectName, OutboxHandler, OutboxName } from "./handler.ts";
import { onInventory } from "./inventory.ts";
import { onReported } from "./reported.ts";
import { onTelemetryWindow } from "./telemetry-window.ts";

export const directHandlers: { readonly [Name in DirectName]: DirectHandler<Name> } = {
  birth: onBirth,
  death: onDeath,
  reported: onReported,
  "artifact-request": onArtifactRequest,
  "enrol-request": onEnrolRequest,
};

export const outboxHandlers: { readonly [Name in OutboxName]: OutboxHandler<Name> } = {
  "attempt-outcome": onAttemptOutcome,
  measurement: onMeasurement,
  "cost-table": onCostTable,
  inventory: onInventory,
  "telemetry-window": onTelemetryWindow,
  "soak-report": onSoakReport,
  observation: onObservation,
  "label-request": onLabelRequest,
};

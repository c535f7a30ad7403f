/**
 * Row types of every table, for kysely. Columns ending in `Json` hold text that the repositories
 * parse with zod; times are milliseconds since the epoch by the controller's clock.
 *
 * Invariant: this file describes the newest migration.
 */
import type { Generated } from "kysely";

export interface MigrationTable {
  number: number;
  name: string;
  appliedAtMs: number;
}
export interface SettingTable {
  key: string;
  value: string;
}
export interface ApiTokenTable {
  id: string;
  name: string;
  tokenSha256: string;
  createdAtMs: number;
  revokedAtMs: number | null;
}
export interface ClaimTable {
  id: string;
  secretSha256: string;
  /** Wanted device id, or null to draw one. */
  deviceName: string | null;
  region: string;
  labelsJson: string;
  createdAtMs: number;
  expiresAtMs: number;
  usedAtMs: number | null;
  usedByDevice: string | null;
  usedByKeyId: string | null;
}
export interface DeviceTable {
  id: string;
  publicKeyJson: string;
  passwordSha256: string;
  region: string;
  labelsJson: string;
  deviceClass: string | null;
  profileJson: string;
  fingerprint: string;
  emulated: number;
  agentVersion: string;
  /** active | quarantined | retired; retired is final. */
  standing: string;
  standingReason: string | null;
  /** Newest session and its boot; `online` is 0 after the matching will, and when the broker does not have it. */
  session: number;
  boot: string | null;
  online: number;
  lastSeenAtMs: number | null;
  desiredRevision: number;
  reportedJson: string | null;
  createdAtMs: number;
  /** When a birth last said that nothing was left to send. */
  outboxEmptyAtMs: Generated<number | null>;
}
/** Each boot that an identity was seen with; a boot that comes back after a newer one is a clone. */
export interface DeviceBootTable {
  device: string;
  boot: string;
  sessionFirst: number;
  sessionLast: number;
  firstSeenAtMs: number;
}
/** Dated rows: where a device was, so that telemetry keeps the region of its time. */
export interface DevicePlacementTable {
  device: string;
  sinceMs: number;
  region: string;
  labelsJson: string;
}
export interface BlobTable {
  sha256: string;
  bytes: number;
  createdAtMs: number;
}
export interface ModelTable {
  name: string;
  createdAtMs: number;
}
export interface GoldenSetTable {
  poolSha256: string;
  name: string;
  samples: number;
  metric: string;
  /** Blob hash of each file by its name in the golden set's folder. */
  filesJson: string;
  /** Sample ids of calibration, selection, sealed and the shards. */
  splitJson: string;
  createdAtMs: number;
}
export interface GoldenShardTable {
  poolSha256: string;
  shardIndex: number;
  sha256: string;
  bytes: number;
}
/** Every use of a shard by a device; reuse is allowed and recorded. */
export interface ShardUseTable {
  id: Generated<number>;
  device: string;
  poolSha256: string;
  shardIndex: number;
  bundleSha256: string;
  purpose: string;
  usedAtMs: number;
}
export interface ModelVersionTable {
  model: string;
  version: string;
  sourceSha256: string;
  sourceBytes: number;
  interfaceJson: string;
  /** Files that the interface reads: name, sha256, bytes. */
  assetsJson: Generated<string>;
  poolSha256: string;
  createdAtMs: number;
}
export interface VariantTable {
  id: string;
  model: string;
  version: string;
  recipe: string;
  recipeSha256: string;
  /** ready | not-applicable | failed */
  status: string;
  reason: string | null;
  bundleSha256: string | null;
  bundleBytes: number | null;
  modelSha256: string | null;
  modelBytes: number | null;
  opset: number | null;
  /** Metric on selection and sealed samples with intervals, paired flips against the source. */
  evaluationJson: string | null;
  /** What a time is foretold from; null where it is not known. */
  shapesJson: string | null;
  createdAtMs: number;
}
/** Outputs of one bundle on one shard, as the controller computed them. */
export interface ReferenceTable {
  bundleSha256: string;
  shardSha256: string;
  sha256: string;
  bytes: number;
}
export interface FactTable {
  id: Generated<number>;
  bundleSha256: string;
  fingerprint: string;
  device: string;
  metric: string;
  value: number;
  low: number | null;
  high: number | null;
  n: number;
  emulated: number;
  degraded: number;
  measuredAtMs: number;
}
export interface MeasurementTable {
  id: string;
  device: string;
  deviceClass: string;
  model: string;
  version: string;
  bundleSha256: string;
  manifestJson: string;
  /** wanted | done | failed */
  status: string;
  failureJson: string | null;
  createdAtMs: number;
  finishedAtMs: number | null;
}
/** One order to find out what operators cost on a device, and what came of it. */
export interface CostTableTable {
  id: string;
  device: string;
  /** As it was signed. */
  orderJson: string;
  /** wanted | done | failed */
  status: string;
  failureJson: string | null;
  /** Of the hardware that the times are facts about, as the device named it with them. */
  fingerprint: string | null;
  tableJson: string | null;
  emulated: number | null;
  degraded: number | null;
  createdAtMs: number;
  finishedAtMs: number | null;
}
export interface ChoiceTable {
  model: string;
  version: string;
  deviceClass: string;
  bundleSha256: string | null;
  recipe: string | null;
  /** One entry per variant: won or lost, and why, with the numbers. */
  reasonsJson: string;
  emulated: number;
  createdAtMs: number;
}
export interface JobTable {
  id: string;
  kind: string;
  inputJson: string;
  /** queued | running | done | failed | cancelled */
  status: string;
  progressFraction: number;
  message: string;
  resultJson: string | null;
  errorJson: string | null;
  createdAtMs: number;
  startedAtMs: number | null;
  finishedAtMs: number | null;
}
export interface ReleaseCounterTable {
  model: string;
  counter: number;
}
export interface RolloutTable {
  id: string;
  model: string;
  version: string;
  /** release | aa | rollback */
  kind: string;
  /** The rollout that a rollback takes back. */
  restores: string | null;
  /** Order of rollouts of one model: per device the higher one wins. */
  releaseCounter: number;
  /** A status of the rollout machine. */
  status: string;
  reason: string | null;
  /** State of the pure rollout machine. */
  stateJson: string;
  createdAtMs: number;
  updatedAtMs: number;
}
/** A device that a stage selected, before and after it was offered something. */
export interface RolloutMemberTable {
  rollout: string;
  device: string;
  stage: number;
  /** Place in the seeded order of the stage. */
  place: number;
  /** Stratum at the time of selection. */
  region: string;
  deviceClass: string;
  /** pending | offered | held | taken | gone | excluded */
  status: string;
  /** Number of the newest attempt; raised when it is tried again. */
  retry: number;
  notBeforeMs: number;
  /** canary | control | fleet */
  arm: string;
  /** harmed | well, once the soak of the device is over. */
  soak: string | null;
}
export interface AttemptTable {
  id: string;
  rollout: string;
  device: string;
  /** 0 for the first attempt of a device in a rollout. */
  retry: number;
  model: string;
  version: string;
  recipe: string;
  stage: number;
  arm: string;
  bundleSha256: string;
  releaseCounter: number;
  manifestJson: string;
  /** offered | withdrawn (no longer wanted, nothing heard) | decided */
  status: string;
  outcome: string | null;
  code: string | null;
  why: string | null;
  gatesJson: string | null;
  servingSha256: string | null;
  createdAtMs: number;
  decidedAtMs: number | null;
}
/** The attempt that `desired` names for a device and model. */
export interface DesiredModelTable {
  device: string;
  model: string;
  attempt: string;
}
/** The newest hold or release of each scope. */
export interface HoldTable {
  /** `tenant` or `region:` and its name. */
  scope: string;
  sequence: number;
  /** As it was signed. */
  documentJson: string;
}
/** Outbox messages that were stored once; a second delivery is acked and ignored. */
export interface ReceivedTable {
  device: string;
  boot: string;
  sequence: number;
  receivedAtMs: number;
}
export interface TelemetryWindowTable {
  id: Generated<number>;
  device: string;
  model: string;
  bundleSha256: string;
  region: string;
  deviceClass: string | null;
  startedAtMs: number;
  durationMs: number;
  ok: number;
  errors: number;
  timeouts: number;
  histogramJson: string;
  ramPeakBytes: number | null;
  emulated: number;
  receivedAtMs: number;
}
/** Watches one bundle in one region after its rollout was completed. */
export interface DetectorTable {
  rollout: string;
  bundleSha256: string;
  region: string;
  shareBefore: number;
  shareMax: number;
  windows: number;
  shareSum: number;
  /** ln of the detector of each bet. */
  logDetectorsJson: string;
  alarmedAtMs: number | null;
  message: string | null;
}
/** Two devices of one stratum that a lot made canary and control. */
export interface PairTable {
  rollout: string;
  pair: string;
  stage: number;
  stratum: string;
  canary: string;
  control: string;
}
/** What verdicts of a rollout rest on, and the verdicts; rows are only ever added. */
export interface LedgerTable {
  rollout: string;
  sequence: number;
  atMs: number;
  /** Names what a row says, so that it is said once; null for decisions. */
  key: string | null;
  bodyJson: string;
}
/** One verdict of one device on a model after its commit. */
export interface SoakReportTable {
  attempt: string;
  /** rolled-back | certified | paused | ended */
  verdict: string;
  device: string;
  model: string;
  version: string;
  bundleSha256: string;
  code: string;
  why: string;
  numbersJson: string;
  histogramsJson: string;
  warningsJson: string;
  servingSha256: string | null;
  receivedAtMs: number;
}
/** Signals of one attempt at one horizon, before and after, as `Signal` by `SignalName`. */
export interface ObservationTable {
  attempt: string;
  horizonMs: number;
  device: string;
  model: string;
  /** canary | control */
  arm: string;
  signalsJson: string;
  receivedAtMs: number;
}
/** A live sample that a device wants a label for. */
export interface LabelRequestTable {
  id: string;
  attempt: string;
  sample: string;
  device: string;
  model: string;
  version: string;
  freshIndex: number;
  runningIndex: number;
  /** Raw bytes per input, as base64. */
  inputsJson: string;
  /** open | answered */
  status: string;
  /** Null also when a person could not tell. */
  labelIndex: number | null;
  requestedAtMs: number;
  answeredAtMs: number | null;
}
/** Append-only record of what happened and why. */
export interface EventTable {
  id: Generated<number>;
  atMs: number;
  kind: string;
  subject: string;
  message: string;
  dataJson: string;
}

export interface ControllerTables {
  migrations: MigrationTable;
  settings: SettingTable;
  apiTokens: ApiTokenTable;
  claims: ClaimTable;
  devices: DeviceTable;
  deviceBoots: DeviceBootTable;
  devicePlacements: DevicePlacementTable;
  blobs: BlobTable;
  models: ModelTable;
  goldenSets: GoldenSetTable;
  goldenShards: GoldenShardTable;
  shardUses: ShardUseTable;
  modelVersions: ModelVersionTable;
  variants: VariantTable;
  referenceOutputs: ReferenceTable;
  facts: FactTable;
  measurements: MeasurementTable;
  costTables: CostTableTable;
  choices: ChoiceTable;
  jobs: JobTable;
  releaseCounters: ReleaseCounterTable;
  rollouts: RolloutTable;
  rolloutMembers: RolloutMemberTable;
  attempts: AttemptTable;
  desiredModels: DesiredModelTable;
  holds: HoldTable;
  received: ReceivedTable;
  telemetryWindows: TelemetryWindowTable;
  detectors: DetectorTable;
  soakReports: SoakReportTable;
  observations: ObservationTable;
  labelRequests: LabelRequestTable;
  pairs: PairTable;
  ledger: LedgerTable;
  events: EventTable;
}

/**
 * Every failure that the world can cause, in one table: its HTTP status, whether the same call may
 * succeed later, and what a person does next. Programmer errors use `assert` instead.
 *
 * Invariants: codes are stored and sent, so they are never renamed; `cause` is kept, never
 * flattened into text; secrets never enter `details`.
 */

export interface ErrorFact {
  /** HTTP status when the error leaves through the API. */
  readonly status: number;
  /** True when repeating the same call later may succeed. */
  readonly retryable: boolean;
  /** What the reader does next, in one sentence. */
  readonly remedy: string;
}

const facts = {
  "input-invalid": fact(400, "Correct the named fields and send it again."),
  "json-invalid": fact(400, "Send valid JSON within the size limit."),
  "config-invalid": fact(400, "Correct the named settings in the file and start again."),
  unauthorized: fact(401, "Send a valid token: `Authorization: Bearer …`."),
  "not-found": fact(404, "Check the name with the matching list command."),
  conflict: fact(409, "Read the current state and decide again."),
  "too-large": fact(413, "Stay below the stated limit."),
  internal: fact(500, "Read the log of this process and report the fault."),

  "onnx-truncated": fact(400, "The file ends too early: copy or export the model again."),
  "onnx-malformed": fact(400, "The file is not valid ONNX: export the model again."),
  "onnx-cycle": fact(400, "The graph has a cycle: export the model again."),
  "onnx-too-large": fact(413, "A tensor declares more data than is allowed: use a smaller model."),
  "onnx-not-finite": fact(400, "Weights hold NaN or infinity: repair or retrain the model."),
  "onnx-unsupported": fact(400, "Re-export the model without the named feature."),

  "golden-invalid": fact(
    400,
    "Correct the golden set; its format is described in docs/golden-sets.md.",
  ),
  "golden-mismatch": fact(
    400,
    "The golden set does not fit the model's inputs: use the matching set.",
  ),
  "tokenizer-invalid": fact(
    400,
    "Save the tokenizer again as tokenizer.json; docs/golden-sets.md says what is read.",
  ),

  "recipe-unknown": fact(404, "List the recipes with `fleetfit recipe list`."),
  "recipe-invalid": fact(400, "Correct the named fields of the recipe."),
  "calibration-failed": fact(422, "Check the calibration samples and the model."),
  "pass-failed": fact(422, "Read the pass named in the message; try another recipe."),
  "plan-fell-back": fact(
    422,
    "Take another scheme, or set `allowFallback` in the recipe when it is made for other processors.",
  ),
  "training-diverged": fact(422, "Lower the learning rate or check the training data."),
  "job-cancelled": fact(409, "Start the job again."),
  "job-failed": fact(500, "Read the job's message; start it again after correcting the cause."),

  "node-too-old": fact(500, "Install Node 20 or newer and repeat the command."),
  "install-failed": fact(500, "Correct what npm names above the message and repeat the command."),
  "install-busy": fact(503, "Wait for the other installation or delete its lock.", true),
  "registry-unreachable": fact(503, "Check network, proxy and npm's registry setting.", true),

  "file-unusable": fact(400, "Check the path and its permissions, then repeat the command."),
  "rollout-stopped": fact(
    409,
    "Read why with `fleetfit rollout show`, then start another rollout.",
  ),
  "ledger-differs": fact(
    409,
    "Compare versions and the database with a backup: the ledger or the program was changed.",
  ),
  "api-unreachable": fact(
    503,
    "Start the controller, or name it with --url or FLEETFIT_URL.",
    true,
  ),

  "mqtt-unreachable": fact(503, "Check the broker's address, the network and the port.", true),
  "mqtt-refused": fact(403, "Check the credential: claim a new token or retire the old device."),
  "message-too-large": fact(413, "Send a smaller message; the limit of each is in the registry."),
  "message-malformed": fact(400, "Update the sender: its message does not follow the protocol."),
  "message-unknown": fact(400, "Update the receiver: it does not know this topic or message."),
  "message-version-unknown": fact(400, "Update the older of the two programs."),
  "topic-foreign": fact(403, "A device may only write below its own id."),

  "claim-expired": fact(403, "Make a new token with `fleetfit device claim`."),
  "claim-used": fact(403, "Make a new token with `fleetfit device claim`; each serves one device."),
  "claim-invalid": fact(403, "Copy the whole token again or make a new one."),
  "device-retired": fact(403, "A retired identity never returns: claim a new token."),

  "signature-invalid": fact(403, "Do not run this file; check the controller's signing key."),
  "manifest-invalid": fact(
    400,
    "Update the older of the two programs, then start the rollout again.",
  ),
  "manifest-expired": fact(403, "Start the rollout again: a fresh manifest will be signed."),
  "manifest-foreign": fact(403, "This manifest is for another device, class, runtime or tenant."),
  "release-older": fact(409, "Start a rollout: it draws a higher release counter."),
  "control-mismatch": fact(409, "The device runs another model by now: choose its controls again."),
  "hold-invalid": fact(400, "Update the older of the two programs, then set the hold again."),
  "hold-foreign": fact(403, "This hold is for another tenant or region."),
  "hold-older": fact(409, "Set or release the hold again: it gets a higher sequence."),
  "costs-invalid": fact(
    400,
    "Update the older of the two programs, then ask for the cost table again.",
  ),
  "artifact-mismatch": fact(422, "The bytes do not match the signed hash: send them again.", true),
  "artifact-too-long": fact(413, "More bytes arrived than announced: check the sender."),
  "artifact-missing": fact(404, "Import the model or golden set again."),
  "disk-full": fact(507, "Free space on the device; the update is tried again.", true),

  "runner-crashed": fact(500, "The model killed its process: look at memory and operators."),
  "runner-timeout": fact(504, "The model did not answer in time.", true),
  "runner-memory": fact(
    500,
    "The model needs more memory than its class allows: use a smaller one.",
  ),
  "serving-busy": fact(503, "Send fewer requests at a time to this model.", true),
  "model-missing": fact(404, "No model of this name is committed on this device."),
  "database-newer": fact(500, "Update this program: its database was made by a newer one."),
} as const satisfies Record<string, ErrorFact>;

function fact(status: number, remedy: string, retryable = false): ErrorFact {
  return { status, retryable, remedy };
}

export type ErrorCode = keyof typeof facts;

/** All codes with their facts, for docs, the API description and tests. */
export const errorFacts: Readonly<Record<ErrorCode, ErrorFact>> = facts;

/** A failure of the world: `code` for programs, `message` for people, `details` for both. */
export class FleetError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "FleetError";
    this.code = code;
    this.details = options.details ?? {};
  }

  get remedy(): string {
    return facts[this.code].remedy;
  }

  get status(): number {
    return facts[this.code].status;
  }

  get retryable(): boolean {
    return facts[this.code].retryable;
  }
}

/** True for a FleetError, of the given code when one is named. */
export function isFleetError(error: unknown, code?: ErrorCode): error is FleetError {
  return error instanceof FleetError && (code === undefined || error.code === code);
}

/** True when `code` is one of the table. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(facts, code);
}

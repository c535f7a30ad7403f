/** Settings of an agent, from its command line. */
import { z } from "zod";
import { FleetError } from "../shared/errors.ts";

const agentConfigSchema = z.object({
  dataDir: z.string().min(1),
  /** Text of a claim token; needed until the device is enrolled. */
  claimToken: z.string().optional(),
  /** Port of the local inference API on loopback; 0 picks a free one. */
  servePort: z.int().min(0).max(65_535),
  /** Declared hardware, as JSON; marks the device as emulated. */
  profileOverride: z.instanceof(Uint8Array).optional(),
});
export type AgentConfig = z.infer<typeof agentConfigSchema>;

/** Errors: `config-invalid`. */
export function parseAgentConfig(values: unknown): AgentConfig {
  const parsed = agentConfigSchema.safeParse(values);
  if (parsed.success) return parsed.data;
  throw new FleetError("config-invalid", `agent: ${z.prettifyError(parsed.error)}`, {
    cause: parsed.error,
  });
}

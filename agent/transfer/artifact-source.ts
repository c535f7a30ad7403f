/**
 * Where artifacts come from. Today the controller is asked over MQTT; faster ways fit behind the same
 * interface.
 */

export interface ArtifactRef {
  readonly sha256: string;
  readonly bytes: number;
}

export interface ArtifactSource {
  /**
   * Brings the artifact into the store, resuming an earlier try, and verifies its hash.
   * Errors: `artifact-missing`, `artifact-too-long`, `artifact-mismatch`, `disk-full`; rejects with
   * the signal's reason when aborted.
   */
  fetch(
    ref: ArtifactRef,
    signal: AbortSignal,
    onProgress: (fraction: number) => void,
  ): Promise<void>;
}

/** Child processes as an argument; every ONNX session of the product lives in one. */

export interface ChildHandle {
  readonly pid: number | undefined;
  /** Sends a structured-clone message; false when the channel is closed. */
  send(message: unknown): boolean;
  onMessage(handler: (message: unknown) => void): void;
  /** Called once; `signal` names the killing signal, if one did. */
  onExit(handler: (exit: { code: number | null; signal: string | null }) => void): void;
  kill(signal?: "SIGTERM" | "SIGKILL"): void;
}

export interface ForkOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Processes {
  /** Forks a TypeScript entry file with an IPC channel ("advanced" serialization). */
  fork(entry: URL, options?: ForkOptions): ChildHandle;
}

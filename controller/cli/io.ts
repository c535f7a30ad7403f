/** What the command line touches besides the network: streams, environment, child programs. */

export interface CliIo {
  /** Results: one text, a line feed is added. */
  readonly out: (text: string) => void;
  /** Progress and errors. */
  readonly err: (text: string) => void;
  /** True when a person watches standard error. */
  readonly interactive: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Runs a program of this package with our streams and answers its exit code. */
  readonly run: (entry: string, args: readonly string[]) => Promise<number>;
  readonly sleep: (delayMs: number) => Promise<void>;
}

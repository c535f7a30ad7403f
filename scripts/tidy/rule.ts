/** What a tidy rule is: a pure function from a file, or from all files, to the faults it finds. */

export interface ProjectFile {
  /** Path from the project root with forward slashes. */
  readonly path: string;
  readonly sizeBytes: number;
  /** The text, or null when the bytes are not UTF-8 text. */
  readonly text: string | null;
}

export interface TextFile extends ProjectFile {
  readonly text: string;
}

export interface Fault {
  readonly rule: string;
  readonly path: string;
  /** 1-based; 0 when the fault is about the file as a whole. */
  readonly line: number;
  readonly message: string;
}

/** What a rule reports; the rule's name and the path are added by the runner. */
export interface Finding {
  readonly line: number;
  readonly message: string;
}

export interface FileRule {
  readonly name: string;
  /** True for the paths that the rule looks at. */
  readonly covers: (path: string) => boolean;
  readonly check: (file: TextFile) => readonly Finding[];
}

/** Runs every rule over every text file that it covers. */
export function checkFiles(rules: readonly FileRule[], files: readonly ProjectFile[]): Fault[] {
  return files.flatMap((file) => {
    const { text } = file;
    if (text === null) return [];
    return rules
      .filter((rule) => rule.covers(file.path))
      .flatMap((rule) =>
        rule
          .check({ ...file, text })
          .map((finding) => ({ rule: rule.name, path: file.path, ...finding })),
      );
  });
}

/** 1-based line of the character at `offset`. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

/** Made by programs or recorded, so people's conventions do not apply. */
export function isGenerated(path: string): boolean {
  return path === "package-lock.json" || path.startsWith("test/fixtures/");
}

/** Source code in any of our languages. */
export function isCode(path: string): boolean {
  return /\.(ts|tsx|mjs)$/.test(path) && !isGenerated(path);
}

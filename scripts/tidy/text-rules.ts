/**
 * Rules on text alone. The words that they look for are written in two halves, so that this file does
 * not break its own rules.
 */
import {
  type Fault,
  type FileRule,
  type Finding,
  isCode,
  isGenerated,
  lineAt,
  type ProjectFile,
} from "./rule.ts";

/** Four hundred lines is the habit; at five hundred a file has more than one duty. */
const linesMax = 500;
/** Beyond this a file slows every clone; it belongs in an npm package or is made by a script. */
const fileBytesMax = 1_500_000;

const fileLength: FileRule = {
  name: "file-length",
  covers: (path) => !isGenerated(path) && !/\.(md|json)$/.test(path),
  check: ({ text }) => {
    const lines = text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
    if (lines <= linesMax) return [];
    return [{ line: linesMax, message: `${lines} lines, at most ${linesMax}: split it by duty` }];
  },
};

const bannedWords: FileRule = {
  name: "banned-words",
  covers: (path) => !isGenerated(path),
  check: ({ text }) =>
    findAll(
      text,
      new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"].join("|")})\\b`, "g"),
      (word) => `"${word}" marks unfinished work: finish it or file it`,
    ),
};

const machinePaths: FileRule = {
  name: "machine-paths",
  covers: (path) => !isGenerated(path),
  check: ({ text }) =>
    findAll(
      text,
      /(?<=^|file:\/\/|[^\w.~/-])(\/(home|Users|root|work)\/[\w.-]+|[A-Z]:\\Users\\\w+)/gm,
      (found) => `"${found}" exists on one machine only: use a path from the project root`,
    ),
};

const lockAddresses: FileRule = {
  name: "lock-addresses",
  covers: (path) => path === "package-lock.json",
  check: ({ text }) =>
    findAll(
      text,
      /"resolved": "https?:[^"]*"/g,
      () => "a download address ties everybody to one registry: keep `.npmrc` and install again",
    ),
};

const registryHosts: FileRule = {
  name: "registry-hosts",
  covers: (path) => path !== "package-lock.json",
  check: ({ text }) =>
    findAll(
      text,
      new RegExp(`registry\\.(${"npm"}js|${"yarn"}pkg)\\.(org|com)`, "g"),
      () => "the registry is the user's choice: name none",
    ),
};

const openingComment: FileRule = {
  name: "opening-comment",
  covers: isCode,
  check: ({ text }) =>
    /^(#!.*\n)?\/\*/.test(text)
      ? []
      : [{ line: 1, message: "a file opens with a block comment that says why it exists" }],
};

export const textRules: readonly FileRule[] = [
  fileLength,
  bannedWords,
  machinePaths,
  lockAddresses,
  registryHosts,
  openingComment,
];

/** Large files, whether text or not. */
export function largeFiles(files: readonly ProjectFile[]): Fault[] {
  return files
    .filter((file) => file.sizeBytes > fileBytesMax)
    .map(({ path, sizeBytes }) => ({
      rule: "large-files",
      path,
      line: 0,
      message: `${sizeBytes} bytes, at most ${fileBytesMax}: make it by a script or take it from npm`,
    }));
}

function findAll(text: string, pattern: RegExp, message: (found: string) => string): Finding[] {
  return [...text.matchAll(pattern)].map((match) => ({
    line: lineAt(text, match.index),
    message: message(match[0]),
  }));
}

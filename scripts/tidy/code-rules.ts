/**
 * Rules on code, read as a syntax tree so that words in comments and strings do not count: no clock,
 * timers, randomness or environment outside the ports, no state of modules, no default exports, and
 * no test that is left out or that replaces a module.
 */
import ts from "typescript";
import { type FileRule, type Finding, isCode } from "./rule.ts";

type Visit = (node: ts.Node, report: (node: ts.Node, message: string) => void) => void;

/** The same set as `mainFiles` of `.dependency-cruiser.mjs`, the adapters added. */
function mayReachTheWorld(path: string): boolean {
  return /(^|\/)main\.ts$|-main\.ts$|^controller\/cli\/|^shared\/adapters\//.test(path);
}

function isProduct(path: string): boolean {
  return isCode(path) && /^(agent|controller|shared)\//.test(path);
}

/** Globals that reach for time, randomness, network or environment, and the port that stands for them. */
const worldlyGlobals = new Map([
  ["setTimeout", "clock"],
  ["setInterval", "clock"],
  ["setImmediate", "clock"],
  ["clearTimeout", "clock"],
  ["clearInterval", "clock"],
  ["clearImmediate", "clock"],
  ["performance", "clock"],
  ["fetch", "network"],
]);

const worldlyMembers = new Map([
  ["Date.now", "clock"],
  ["AbortSignal.timeout", "clock"],
  ["Math.random", "randomness"],
  ["crypto.randomUUID", "randomness"],
  ["crypto.randomBytes", "randomness"],
  ["crypto.randomInt", "randomness"],
  ["crypto.getRandomValues", "randomness"],
  ["process.env", "configuration"],
  ["process.hrtime", "clock"],
  ["process.exit", "process"],
]);

/** Functions of node:crypto that draw random bytes. */
const randomImports = /^random(UUID|Bytes|Int|Fill|FillSync)$/;

const ports = codeRule(
  "ports",
  (path) => isProduct(path) && !mayReachTheWorld(path),
  (node, report) => {
    const worldly = (port: string, what: string) =>
      report(node, `${what}: take the ${port} as an argument instead`);
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
      const name = `${node.expression.text}.${node.name.text}`;
      const port = worldlyMembers.get(name);
      if (port !== undefined) worldly(port, name);
    } else if (ts.isIdentifier(node) && isReference(node)) {
      const port = worldlyGlobals.get(node.text);
      if (port !== undefined && !isDeclared(node)) worldly(port, node.text);
    } else if (ts.isNewExpression(node) || ts.isCallExpression(node)) {
      // `new Date(wallMs)` only formats a time that was given, so it is allowed.
      const now = (node.arguments?.length ?? 0) === 0 || ts.isCallExpression(node);
      if (now && ts.isIdentifier(node.expression) && node.expression.text === "Date") {
        worldly("clock", "the current Date");
      }
    } else if (ts.isImportSpecifier(node)) {
      const name = (node.propertyName ?? node.name).text;
      const source = node.parent.parent.parent.moduleSpecifier;
      const crypto = ts.isStringLiteral(source) && /^(node:)?crypto$/.test(source.text);
      if (crypto && randomImports.test(name)) worldly("randomness", name);
    }
  },
);

const moduleState = codeRule("module-state", isProduct, (node, report) => {
  if (!ts.isVariableStatement(node) || !ts.isSourceFile(node.parent)) return;
  if ((node.declarationList.flags & ts.NodeFlags.Const) !== 0) return;
  report(node, "a variable of a module outlives every owner: put it into an object that is made");
});

const defaultExports = codeRule(
  "default-exports",
  (path) => isCode(path) && !/\.config\.ts$|^\.dependency-cruiser\.mjs$/.test(path),
  (node, report) => {
    const assigned = ts.isExportAssignment(node);
    const renamed = ts.isExportSpecifier(node) && node.name.text === "default";
    const marked =
      ts.canHaveModifiers(node) &&
      ts.getModifiers(node)?.some((modifier) => modifier.kind === ts.SyntaxKind.DefaultKeyword);
    if (assigned || renamed || marked) report(node, "export by name, so that a search finds it");
  },
);

const leftOut = new Set(["only", "skip", "todo", "skipIf", "runIf", "fails"]);

const testsLeftOut = codeRule(
  "tests-left-out",
  (path) => isCode(path) && path.startsWith("test/"),
  (node, report) => {
    if (!ts.isPropertyAccessExpression(node) || !leftOut.has(node.name.text)) return;
    if (!/^(test|it|describe|suite|bench|context|ctx|task|t)\b/.test(node.getText())) return;
    report(node, `.${node.name.text} leaves tests out unseen: make the test pass or delete it`);
  },
);

const modulesReplaced = codeRule(
  "modules-replaced",
  (path) => isCode(path),
  (node, report) => {
    if (!ts.isPropertyAccessExpression(node) || node.expression.getText() !== "vi") return;
    if (!/^(mock|doMock|hoisted|unmock|stubGlobal|useFakeTimers)$/.test(node.name.text)) return;
    report(node, `vi.${node.name.text}: pass a fake in as an argument instead`);
  },
);

export const codeRules: readonly FileRule[] = [
  ports,
  moduleState,
  defaultExports,
  testsLeftOut,
  modulesReplaced,
];

function codeRule(name: string, covers: (path: string) => boolean, visit: Visit): FileRule {
  return {
    name,
    covers,
    check: ({ path, text }) => {
      const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2024, true);
      const findings: Finding[] = [];
      const report = (node: ts.Node, message: string) => {
        const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
        findings.push({ line: line + 1, message });
      };
      const walk = (node: ts.Node): void => {
        visit(node, report);
        ts.forEachChild(node, walk);
      };
      walk(source);
      return findings;
    },
  };
}

/** True when the identifier is read, not when it names a member, a property or a declaration. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isPropertyAssignment(parent)) return parent.initializer === node;
  if (ts.isQualifiedName(parent) || ts.isTypeReferenceNode(parent)) return false;
  if (ts.isVariableDeclaration(parent) || ts.isParameter(parent)) {
    return parent.initializer === node;
  }
  const named = parent as { name?: ts.Node };
  return named.name !== node || ts.isShorthandPropertyAssignment(parent);
}

/** True when the name is a parameter, a variable or an import of this file and so not the global. */
function isDeclared(node: ts.Identifier): boolean {
  let found = false;
  const walk = (child: ts.Node): void => {
    if (found) return;
    const declares =
      ts.isParameter(child) ||
      ts.isVariableDeclaration(child) ||
      ts.isBindingElement(child) ||
      ts.isFunctionDeclaration(child) ||
      ts.isImportSpecifier(child);
    if (declares && child.name !== undefined && ts.isIdentifier(child.name)) {
      found = child.name.text === node.text;
    }
    ts.forEachChild(child, walk);
  };
  walk(node.getSourceFile());
  return found;
}

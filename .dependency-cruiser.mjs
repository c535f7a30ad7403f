/**
 * Which room may import what. The rooms keep agent and controller apart, so that each can be replaced,
 * and they keep the outside world (files, database, network, clock) at the edge, so that a test can
 * crash a program at every effect it has. Each rule says why it is there; scripts/rooms.ts runs them,
 * and test/unit/scripts/rooms.test.ts sees each of them fire.
 *
 * Invariant: a rule names folders and kinds of file, never a single odd file; an exception is a new
 * kind with its reason.
 */

/** Programs that construct parts: they may reach for the real world and hand it on as arguments. */
const mainFiles = "(^|/)main\\.ts$|-main\\.ts$|^controller/cli/";
const product = "^(agent|controller|shared)/";
// The embedded broker is an adapter too: it is the one listener of TLS sockets, and only main starts it.
const adapters = "^shared/adapters/|^controller/broker/embedded-broker\\.ts$";
const inference = "^shared/inference/";

/** Matches built-in modules by name, with and without `node:`, sub-modules included. */
function builtIn(...names) {
  return `^(node:)?(${names.join("|")})(/|$)`;
}

/** Matches packages by name, resolved or not. */
function packages(...names) {
  return `(^|/)node_modules/(${names.join("|")})(/|$)|^(${names.join("|")})(/|$)`;
}

const portModules = [
  "fs",
  "child_process",
  "cluster",
  "worker_threads",
  "net",
  "tls",
  "dgram",
  "dns",
  "timers",
  "sqlite",
];
const portPackages = ["mqtt", "better-sqlite3"];

/** Rooms whose files only compute: same arguments, same answer. */
const pureRooms = [
  "shared/(?!adapters/|inference/)",
  "controller/(onnx|compress|train|plan)/",
  "controller/rollout/machine\\.ts$",
  "agent/update/machine\\.ts$",
];

const roomRules = [
  {
    name: "shared-stands-alone",
    comment: "Both programs are built on shared/, so it depends on neither of them.",
    from: { path: "^shared/" },
    to: { path: "^(agent|controller|scripts|test)/" },
  },
  {
    name: "agent-without-controller",
    comment:
      "The agent runs on small devices and must not carry the controller; they meet in shared/.",
    from: { path: "^agent/" },
    to: { path: "^controller/" },
  },
  {
    name: "controller-without-agent",
    comment:
      "What the controller knows of an agent is the protocol in shared/, so that old agents stay understood.",
    from: { path: "^controller/" },
    to: { path: "^agent/" },
  },
  {
    name: "product-without-scripts",
    comment: "scripts/ and test/ are not shipped.",
    from: { path: product },
    to: { path: "^(scripts|test)/" },
  },
  {
    name: "onnx-stands-alone",
    comment:
      "The ONNX core is the ground of compression and training and knows of no room above it.",
    from: { path: "^controller/onnx/" },
    to: { path: "^controller/", pathNot: "^controller/onnx/" },
  },
  {
    name: "compress-on-onnx",
    comment: "A pass rewrites a graph; it knows no fleet, no storage and no rollout.",
    from: { path: "^controller/compress/", pathNot: mainFiles },
    to: { path: "^controller/", pathNot: "^controller/(onnx|compress)/" },
  },
  {
    name: "train-on-onnx",
    comment: "A training graph is made from a graph and nothing else.",
    from: { path: "^controller/train/", pathNot: mainFiles },
    to: { path: "^controller/", pathNot: "^controller/(onnx|train)/" },
  },
  {
    name: "nobody-imports-main",
    comment:
      "A main file constructs parts and starts work when it is loaded, so product code starts it as a process.",
    from: { path: product, pathNot: "^controller/cli/" },
    to: { path: "(^|/)main\\.ts$|-main\\.ts$" },
  },
  {
    name: "cli-stays-outside",
    comment: "The command line is a client like any other; nothing behind the API leans on it.",
    from: { path: "^controller/", pathNot: "^controller/cli/" },
    to: { path: "^controller/cli/" },
  },
];

const portRules = [
  {
    name: "adapters-only-in-main",
    comment:
      "Real files, databases, clocks and processes are constructed in main files and passed in as arguments.",
    from: { path: product, pathNot: `${mainFiles}|${adapters}` },
    to: { path: adapters },
  },
  {
    name: "ports-not-built-ins",
    comment:
      "Files, processes, sockets and timers come through shared/ports, so that a test can crash or simulate them.",
    from: { path: product, pathNot: `${mainFiles}|${adapters}` },
    to: { path: builtIn(...portModules) },
  },
  {
    name: "ports-not-packages",
    comment: "MQTT and SQLite come through shared/ports for the same reason.",
    from: { path: product, pathNot: `${mainFiles}|${adapters}` },
    // A type is erased before the program runs and opens no connection.
    to: { path: packages(...portPackages), dependencyTypesNot: ["type-only"] },
  },
  {
    name: "pure-rooms",
    comment: "These rooms only compute: no files, no network, no processes, no runtime, no timers.",
    from: { path: `^(${pureRooms.join("|")})`, pathNot: mainFiles },
    to: {
      path: [
        builtIn(...portModules, "http", "https", "http2", "os", "readline"),
        packages(...portPackages, "onnxruntime-node", "aedes", "fastify", "ws", "pino"),
      ],
    },
  },
  {
    name: "runtime-only-in-inference",
    comment:
      "onnxruntime-node blocks the event loop and can abort the process, so only the code of the forked child loads it.",
    from: { path: product, pathNot: inference },
    to: { path: packages("onnxruntime-node"), dependencyTypesNot: ["type-only"] },
  },
];

const packageRules = [
  {
    name: "shared-packages",
    comment:
      "Whatever shared/ imports is carried by every device: schemas and the CBOR codec only.",
    from: { path: "^shared/", pathNot: `${adapters}|${inference}` },
    to: { dependencyTypes: ["npm", "npm-dev", "npm-peer"], pathNot: packages("zod", "cborg") },
  },
  {
    name: "adapter-packages",
    comment: "Each adapter wraps one well known package; a new one is added here with its port.",
    from: { path: adapters },
    to: {
      dependencyTypes: ["npm", "npm-dev", "npm-peer"],
      pathNot: packages("zod", "cborg", "mqtt", "better-sqlite3", "pino", "aedes"),
    },
  },
  {
    name: "inference-packages",
    comment:
      "The child that runs models loads the runtime and the schemas, so that it stays small; and, since a text model is nothing without its tokens, one file of plain JavaScript that makes them.",
    from: { path: inference },
    to: {
      dependencyTypes: ["npm", "npm-dev", "npm-peer"],
      pathNot: packages("zod", "cborg", "onnxruntime-node", "@huggingface/tokenizers"),
    },
  },
  {
    name: "no-development-packages",
    comment: "What the product imports must be installed with it.",
    from: { path: product },
    to: {
      dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"],
      dependencyTypesNot: ["type-only", "npm"],
    },
  },
];

const graphRules = [
  {
    name: "no-cycles",
    comment: "Modules in a cycle can only be understood and started together.",
    from: {},
    to: { circular: true },
  },
  {
    name: "no-orphans",
    comment: "A module that nobody imports and that imports nothing is left over.",
    from: { orphan: true, pathNot: `${mainFiles}|\\.config\\.ts$|\\.test\\.ts$` },
    to: {},
  },
  {
    name: "no-unresolvable",
    comment: "An import that leads nowhere fails at run time.",
    from: {},
    to: { couldNotResolve: true },
  },
];

export default {
  forbidden: [...roomRules, ...portRules, ...packageRules, ...graphRules].map((rule) => ({
    severity: "error",
    ...rule,
  })),
  options: {
    // An import of a type is a dependency of the reader too.
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^test/fixtures/" },
    detectProcessBuiltinModuleCalls: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      mainFields: ["main", "types"],
    },
  },
};

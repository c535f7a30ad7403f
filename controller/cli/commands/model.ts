/** Models and their versions. */
import { basename, dirname, join } from "node:path";
import { assetNames, type ModelInterface } from "../../../shared/artifact/bundle.ts";
import { goldenFileNames, parseGoldenManifest } from "../../../shared/evaluation/golden-set.ts";
import type { Client } from "../client.ts";
import { action, type CommandGroup, clientOf, query } from "../command.ts";
import { readFile, readModelFile } from "../model-file.ts";
import { kilobytes, progress, show, table, time } from "../output.ts";
import { interfaceOf } from "./interface-file.ts";

export const modelCommands: CommandGroup = {
  add(program, io) {
    const model = program.command("model").description("models, their versions and golden sets");
    addImport(model, io);
    query(model, "list", "all models with their newest version", [
      "model list",
      "model list --json",
    ]).action(async (options) => {
      const answer = await clientOf(io, options).call("listModels");
      show(io, options, answer, ({ models }) =>
        table(
          ["model", "versions", "newest", "size", "imported"],
          models.map(({ name, versions }) => {
            const newest = versions.at(-1);
            return [
              name,
              versions.length,
              newest?.version,
              kilobytes(newest?.sourceBytes),
              time(newest?.createdAtMs),
            ];
          }),
          "There is no model yet; `fleetfit model import` takes one in.",
        ),
      );
    });
    query(model, "show <model>", "the versions of a model", [
      "model show digits",
      "model show digits --json",
    ]).action(async (name: string, options) => {
      const answer = await clientOf(io, options).call("getModel", { params: { model: name } });
      show(io, options, answer, ({ versions }) =>
        table(
          ["version", "size", "inputs", "output", "golden set", "imported"],
          versions.map((version) => [
            version.version,
            kilobytes(version.sourceBytes),
            describeInputs(version.interface),
            describeOutput(version.interface),
            version.poolSha256.slice(0, 12),
            time(version.createdAtMs),
          ]),
          "It has no version.",
        ),
      );
    });
  },
};

function addImport(...[model, io]: Parameters<CommandGroup["add"]>): void {
  action(model, "import <file>", "take in a version with its golden set, after checking both", [
    "model import digits.onnx --name digits --version 1 --golden golden/golden.json",
    "model import digits.onnx --name digits --version 2 --golden golden/golden.json --interface digits.yaml",
  ])
    .requiredOption("--name <model>", "name of the model")
    .requiredOption("--version <version>", "name of the version")
    .requiredOption(
      "--golden <manifest>",
      "JSON manifest of the golden set; its files lie beside it",
    )
    .option(
      "--interface <file>",
      "inputs and output as YAML or JSON, with a tokenizer.json beside it; made from the model otherwise",
    )
    .action(async (file: string, options) => {
      const client = clientOf(io, options);
      const onnx = readModelFile(file);
      const golden = goldenFiles(options.golden);
      const modelInterface =
        options.interface === undefined ? undefined : interfaceOf(options.interface);
      const assetFiles = assetNames(modelInterface ?? { inputs: [] }).map((name) => ({
        name,
        bytes: readFile(join(dirname(options.interface), name)),
      }));
      const bar = progress(io, "import");
      const steps = golden.length + assetFiles.length + 2;
      let done = 0;
      const upload = (name: string, bytes: Uint8Array<ArrayBuffer>) => {
        bar.set(done++ / steps, `sending ${name}`);
        return client.upload(bytes);
      };
      const uploadAll = async (named: readonly NamedFile[]) => {
        const hashes: Record<string, string> = {};
        for (const { name, bytes } of named) hashes[name] = await upload(name, bytes);
        return hashes;
      };
      const files = await uploadAll(golden);
      const assets = await uploadAll(assetFiles);
      const sourceSha256 = await upload(basename(file), onnx);
      bar.set(done / steps, "checking");
      const answer = await importVersion(client, options, {
        sourceSha256,
        golden: { manifest: basename(options.golden), files },
        ...(modelInterface === undefined ? {} : { interface: modelInterface, assets }),
      }).finally(() => bar.end());
      show(
        io,
        options,
        answer,
        ({ version, sourceBytes }) =>
          `${options.name} ${version} is in: ${kilobytes(sourceBytes)}. Next: fleetfit compress ${options.name} ${version}`,
      );
    });
}

function importVersion(
  client: Client,
  options: { name: string; version: string },
  files: {
    sourceSha256: string;
    golden: { manifest: string; files: Record<string, string> };
    interface?: ModelInterface;
    assets?: Record<string, string>;
  },
) {
  return client.call("importVersion", {
    params: { model: options.name },
    body: { version: options.version, ...files },
  });
}

interface NamedFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The manifest and each file that it names. Errors: `golden-invalid`. */
function goldenFiles(manifestPath: string): NamedFile[] {
  const bytes = readFile(manifestPath);
  const names = goldenFileNames(parseGoldenManifest(bytes));
  return [
    { name: basename(manifestPath), bytes },
    ...names.map((name) => ({ name, bytes: readFile(join(dirname(manifestPath), name)) })),
  ];
}

function describeInputs({ inputs }: ModelInterface): string {
  return inputs
    .map(({ tensor, sample }) => `${tensor} ${sample.dtype} [${sample.shape}]`)
    .join("\n");
}

function describeOutput({ output }: ModelInterface): string {
  return output.kind === "classification"
    ? `${output.labels.length} classes`
    : output.tensors.join(", ");
}

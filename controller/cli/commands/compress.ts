/** Compression: start the job, watch it, let devices measure, show what each class chose and why. */

import type {
  ChoiceAnswer,
  ForetoldTimesAnswer,
  VariantAnswer,
} from "../../../shared/api/routes/models.ts";
import { FleetError, isErrorCode } from "../../../shared/errors.ts";
import type { Client } from "../client.ts";
import { action, type CommandGroup, clientOf, collect, query } from "../command.ts";
import { foretoldText, withForetellBound } from "../foretold-text.ts";
import type { CliIo } from "../io.ts";
import { kilobytes, percent, progress, show, table, time } from "../output.ts";
import { compressFileHere, namesFile } from "./compress-file.ts";

/** How often a running job is asked how far it is, in ms. */
const pollMs = 300;

export const compressCommands: CommandGroup = {
  add(program, io) {
    const compression = action(
      program,
      "compress <model> [version]",
      "make one variant per recipe, evaluate and measure them, and let each class choose",
      [
        "compress digits 1",
        "compress digits 1 --recipe fp16 --recipe int8-static",
        "compress digits 1 --no-measure --json",
        "compress digits.onnx --golden golden/golden.json",
        "compress digits.onnx --golden golden/golden.json --cost-table camera-1.costs.json",
        "compress digits.onnx --golden golden/golden.json --class x86-vnni --recipe my.yaml --out variants",
      ],
    );
    withForetellBound(compression)
      .addHelpText("after", fileHelp)
      .option("--recipe <name>", "only this recipe; may be repeated", collect)
      .option("--no-measure", "do not benchmark the variants")
      .option("--golden <manifest>", "of a file: JSON manifest of the golden set")
      .option("--interface <file>", "of a file: inputs and output as YAML or JSON")
      .option("--class <name>", "of a file: the device class that chooses (any)")
      .option("--config-dir <dir>", "of a file: folder with your classes.yaml and recipes.yaml")
      .option("--out <dir>", "of a file: where variants and report go (<file>-variants)")
      .option(
        "--cost-table <file>",
        "of a file: foretell times on the device whose `device costs --json` it is",
      )
      .action(async (model: string, version: string | undefined, options) => {
        if (namesFile(model, version)) return compressFileHere(io, model, options);
        if (version === undefined) {
          throw new FleetError(
            "input-invalid",
            `${model} is no file: name a version of the model, or an .onnx file`,
          );
        }
        return compressVersion(io, { model, version }, options);
      });
    const job = program.command("job").description("long work of the controller");
    query(job, "list", "jobs, newest first", ["job list", "job list --json"]).action(
      async (options) => {
        const answer = await clientOf(io, options).call("listJobs");
        show(io, options, answer, ({ jobs }) =>
          table(
            ["job", "kind", "status", "done", "message", "started"],
            jobs.map((each) => [
              each.id,
              each.kind,
              each.status,
              percent(each.progressFraction),
              each.error?.message ?? each.message,
              time(each.startedAtMs),
            ]),
            "There was no job yet.",
          ),
        );
      },
    );
    action(job, "cancel <job>", "end a job; what it finished stays", [
      "job cancel j-0a1b2c3d4e5f",
    ]).action(async (id: string, options) => {
      const answer = await clientOf(io, options).call("cancelJob", {
        params: { job: id },
        body: {},
      });
      show(io, options, answer, () => `${id} is being ended.`);
    });
  },
};

const fileHelp = `
With the name of an .onnx file and no version everything happens on this machine, without a controller:
variants, their evaluation and a report are written to --out, where a second run goes on. --recipe then
takes a YAML file of recipes as well.`;

async function compressVersion(
  io: CliIo,
  params: Version,
  options: { recipe?: string[]; measure: boolean; json?: boolean },
): Promise<void> {
  const client = clientOf(io, options);
  await compress(client, io, params, options.recipe);
  const { variants } = await client.call("listVariants", { params });
  const choices = options.measure ? await measure(client, io, params) : [];
  const { foretold } = await client.call("listForetoldTimes", { params });
  show(io, options, { variants, choices, foretold }, () => report(variants, choices, foretold));
}

type Version = { readonly model: string; readonly version: string };

/** Errors: the code that the job failed with, `job-cancelled`. */
async function compress(
  client: Client,
  io: CliIo,
  params: Version,
  recipes: string[] | undefined,
): Promise<void> {
  const { id } = await client.call("compressVersion", {
    params,
    body: recipes === undefined ? {} : { recipes },
  });
  const bar = progress(io, "compress");
  try {
    for (;;) {
      const job = await client.call("getJob", { params: { job: id } });
      bar.set(job.progressFraction, job.message);
      if (job.status === "done") return;
      if (job.status === "cancelled") throw new FleetError("job-cancelled", `${id} was cancelled`);
      if (job.status === "failed") {
        const code = job.error?.code ?? "";
        throw new FleetError(isErrorCode(code) ? code : "job-failed", job.error?.message ?? id);
      }
      await io.sleep(pollMs);
    }
  } finally {
    bar.end();
  }
}

async function measure(client: Client, io: CliIo, params: Version): Promise<ChoiceAnswer[]> {
  await client.call("startMeasurements", { params, body: {} });
  const bar = progress(io, "measure");
  try {
    for (;;) {
      const { measurements } = await client.call("listMeasurements", { params });
      const open = measurements.filter(({ status }) => status === "wanted");
      const done = measurements.length - open.length;
      const devices = [...new Set(open.map(({ device }) => device))].join(", ");
      bar.set(done / Math.max(1, measurements.length), devices === "" ? "done" : `on ${devices}`);
      if (open.length === 0) break;
      await io.sleep(pollMs);
    }
  } finally {
    bar.end();
  }
  return (await client.call("listChoices", { params })).choices;
}

function report(
  variants: readonly VariantAnswer[],
  choices: readonly ChoiceAnswer[],
  foretold: readonly ForetoldTimesAnswer[],
): string {
  const made = table(
    ["recipe", "status", "size", "metric", "interval", "worse / better", "why not"],
    variants.map(({ recipe, status, reason, modelBytes, evaluation }) => [
      recipe,
      status,
      kilobytes(modelBytes),
      percent(evaluation?.sealed.value),
      evaluation === null
        ? ""
        : `${percent(evaluation.sealed.low)} … ${percent(evaluation.sealed.high)}`,
      evaluation === null ? "" : `${evaluation.worse} / ${evaluation.better}`,
      reason,
    ]),
    "No variant was made.",
  );
  const chosen = choices.map((choice) => {
    const winner = choice.recipe ?? "nothing fits";
    const rows = choice.reasons.map(({ recipe, won, why }) => [won ? "won" : "lost", recipe, why]);
    return `${choice.deviceClass}: ${winner}\n${table(["", "recipe", "why"], rows, "")}`;
  });
  const foretoldAccuracy = foretoldText(
    variants.map(({ recipe, evaluation }) => ({ recipe, foretold: evaluation?.foretold ?? [] })),
  );
  return [made, ...foretoldAccuracy, ...chosen, ...foretold.map(timesText)].join("\n\n");
}

function timesText({ deviceClass, costs, variants }: ForetoldTimesAnswer): string {
  const marks = [costs.emulated ? "emulated" : "", costs.degraded ? "on a busy machine" : ""];
  const made = ["timed", ...marks.filter((mark) => mark !== ""), time(costs.measuredAtMs)];
  const rows = variants.map(({ recipe, foretoldMs, measuredMs, notCovered }) => [
    recipe,
    microseconds(measuredMs),
    microseconds(foretoldMs),
    notCovered.join(", "),
  ]);
  const head = ["recipe", "measured µs", "foretold µs", "not covered"];
  return `${deviceClass}: foretold from the operators of ${costs.device} (${made.join(", ")})\n${table(head, rows, "")}`;
}

const microseconds = (ms: number | null) => (ms === null ? "" : (ms * 1_000).toFixed(1));

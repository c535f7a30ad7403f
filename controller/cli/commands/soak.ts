/** What devices find out after a commit, and labels for live samples. */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { action, type CommandGroup, clientOf, query } from "../command.ts";
import { facts, show, table, time } from "../output.ts";

export const soakCommands: CommandGroup = {
  add(program, io) {
    const soak = program.command("soak").description("the watch of devices after a commit");
    query(soak, "list", "verdicts of devices on models after their commit", [
      "soak list",
      "soak list --rollout r-1a2b --json",
    ])
      .option("--rollout <id>", "only devices of this rollout")
      .option("--device <id>", "only this device")
      .action(async (options) => {
        const answer = await clientOf(io, options).call("listSoaks", {
          query: { rollout: options.rollout, device: options.device },
        });
        show(io, options, answer, ({ soaks }) =>
          table(
            ["at", "device", "model", "version", "verdict", "why", "warnings"],
            soaks.map((each) => [
              time(each.receivedAtMs),
              each.device,
              each.model,
              each.version,
              each.verdict,
              each.why,
              each.warnings.join("; "),
            ]),
            "No device has reported from a soak yet.",
          ),
        );
      });
    const label = program
      .command("label")
      .description("live samples on which two models differ, and what they really are");
    addLabelList(label, io);
    addLabelShow(label, io);
    addLabelAnswer(label, io);
  },
};

function addLabelList(...[label, io]: Parameters<CommandGroup["add"]>): void {
  query(label, "list", "samples that devices want a label for", [
    "label list",
    "label list --model digits --all --json",
  ])
    .option("--model <name>", "only samples of this model")
    .option("--all", "answered ones too")
    .action(async (options) => {
      const answer = await clientOf(io, options).call("listLabelRequests", {
        query: { model: options.model, ...(options.all ? {} : { status: "open" as const }) },
      });
      show(io, options, answer, ({ requests }) =>
        table(
          ["request", "device", "model", "version", "new model", "old model", "label"],
          requests.map((each) => [
            each.id,
            each.device,
            each.model,
            each.version,
            each.newModelSays,
            each.oldModelSays,
            each.status === "open" ? "" : (each.label ?? "unknown"),
          ]),
          "No device asks for a label.",
        ),
      );
    });
}

function addLabelShow(...[label, io]: Parameters<CommandGroup["add"]>): void {
  query(label, "show <request>", "one sample; its raw bytes are written when a folder is named", [
    "label show a-17.0f3c5a9be2d1",
    "label show a-17.0f3c5a9be2d1 --out samples",
  ])
    .option("--out <folder>", "existing folder to write the bytes of each input to")
    .action(async (id: string, options) => {
      const answer = await clientOf(io, options).call("getLabelRequest", {
        params: { request: id },
      });
      const files: string[] = [];
      if (options.out !== undefined) {
        for (const [place, bytes] of Object.values(answer.inputs).entries()) {
          const path = join(resolve(String(options.out)), `${answer.sample}-${place}.bin`);
          writeFileSync(path, Buffer.from(bytes, "base64"));
          files.push(path);
        }
      }
      show(io, options, answer, () =>
        facts([
          ["request", answer.id],
          ["device", answer.device],
          ["model", `${answer.model} ${answer.version}`],
          ["new model says", answer.newModelSays],
          ["old model says", answer.oldModelSays],
          ["label", answer.label],
          ["inputs", Object.keys(answer.inputs).join(", ")],
          ["text", quoted(answer.texts)],
          ["files", files.join(", ")],
        ]),
      );
    });
}

/** Each text once, since several inputs may read it. */
function quoted(texts: Readonly<Record<string, string>>): string | undefined {
  const different = [...new Set(Object.values(texts))];
  return different.length === 0 ? undefined : different.map(harmless).join(", ");
}

/** In quotes and without a character that a terminal would obey. */
function harmless(text: string): string {
  return JSON.stringify(text).replace(
    /\p{C}/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

function addLabelAnswer(...[label, io]: Parameters<CommandGroup["add"]>): void {
  action(label, "answer <request> [label]", "say what a sample really is", [
    "label answer a-17.0f3c5a9be2d1 seven",
    "label answer a-17.0f3c5a9be2d1 --unknown",
  ])
    .option("--unknown", "nobody can tell")
    .action(async (id: string, name: string | undefined, options) => {
      const answer = await clientOf(io, options).call("answerLabelRequest", {
        params: { request: id },
        body: { label: options.unknown ? null : (name ?? "") },
      });
      show(io, options, answer, () => `${id} is ${answer.label ?? "unknown"}; its device is told.`);
    });
}

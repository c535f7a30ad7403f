/** Golden sets out of what operators have: folders of labelled pictures, lines of labelled texts. */
import { readdirSync } from "node:fs";
import { join, resolve, sep } from "node:path";
import { InvalidArgumentError } from "commander";
import { systemFiles } from "../../../shared/adapters/system-files.ts";
import { FleetError } from "../../../shared/errors.ts";
import { writeFileAtomic } from "../../../shared/files/atomic-file.ts";
import { parseTokenizer } from "../../../shared/inference/processing/tokenizer-file.ts";
import { bytesInMemory } from "../../../shared/ports/byte-source.ts";
import { goldenFromImages, type ImageGolden } from "../../images/golden-from-images.ts";
import { byFolder, byList, type LabelledFiles } from "../../images/labelled-files.ts";
import { type PictureOptions, pictureOf } from "../../images/preprocessing.ts";
import { Model } from "../../onnx/model.ts";
import { goldenFromTexts } from "../../texts/golden-from-texts.ts";
import { type CommandGroup, withExamples, withJson } from "../command.ts";
import { decoderIn } from "../image-decoder.ts";
import { readFile, readModelFile } from "../model-file.ts";
import { facts, progress, show } from "../output.ts";

interface CommonFlags {
  readonly model: string;
  readonly out: string;
  readonly classes?: string;
  readonly name?: string;
  readonly json?: boolean;
}

interface Flags extends CommonFlags, PictureOptions {
  readonly labels?: string;
  readonly skipBroken?: boolean;
}

export const goldenCommands: CommandGroup = {
  add(program, io) {
    const golden = program.command("golden").description("golden sets: what models are judged on");
    addFromTexts(golden, io);
    const command = golden
      .command("from-images <dir>")
      .description("make a golden set and an interface out of labelled pictures")
      .requiredOption("--model <file>", "ONNX file whose input says size and layout")
      .requiredOption("--out <dir>", "where golden.json, its arrays and interface.json go")
      .option(
        "--labels <file>",
        "lines of path,label or path,label,region; one folder per class otherwise",
      )
      .option("--classes <file>", "one class per line, in the model's order")
      .option("--size <HxW>", "what the model takes, when it leaves that open", sizeOf)
      .option("--resize-to <pixels>", "shorter side before the middle is cut out", numberOf)
      .option("--fit <how>", "cover, contain or fill", oneOf("cover", "contain", "fill"), "cover")
      .option("--order <colours>", "rgb or bgr", oneOf("rgb", "bgr"), "rgb")
      .option("--scale <number>", "pixel · scale comes first (1/255)", numberOf, 1 / 255)
      .option("--mean <numbers>", "then minus mean, one or one per channel", numbersOf, [0])
      .option("--std <numbers>", "then divided by std, one or one per channel", numbersOf, [1])
      .option("--name <text>", "for people; the folder's name otherwise")
      .option("--skip-broken", "leave out pictures that cannot be decoded, and list them")
      .action(async (dir: string, flags: Flags) => {
        const model = Model.decode(readModelFile(flags.model));
        const picture = pictureOf(model, flags);
        const labelled = labelledIn(dir, flags);
        const bar = progress(io, "decode");
        const made = await goldenFromImages(
          model,
          { labelled, picture, name: flags.name ?? dir.slice(0, nameLengthMax) },
          decoderIn(resolve(dir)),
          { skipBroken: flags.skipBroken === true, onProgress: bar.set },
        ).finally(() => bar.end());
        await write(resolve(flags.out), made);
        const { skipped } = made;
        const pictures = labelled.files.length - skipped.length;
        const answer = { out: flags.out, pictures, classes: labelled.classes.length, skipped };
        show(io, flags, answer, (told) =>
          facts([
            ["pictures", told.pictures],
            ["classes", told.classes],
            ["left out", skipped.map(({ path, why }) => `${path}: ${why}`).join("\n") || "none"],
            ["next", compressLine(flags)],
          ]),
        );
      });
    withExamples(withJson(command), [
      "golden from-images photos --model model.onnx --out golden",
      "golden from-images photos --model resnet.onnx --out golden --resize-to 256 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
      "golden from-images photos --model model.onnx --out golden --labels labels.csv --classes classes.txt --json",
    ]);
  },
};

const nameLengthMax = 128;

function labelledIn(dir: string, flags: Flags): LabelledFiles {
  const classes = flags.classes === undefined ? undefined : linesOf(flags.classes);
  if (flags.labels !== undefined) return byList(textOf(flags.labels), classes);
  return byFolder(pathsBelow(dir), classes);
}

/** Links are not followed, so nothing outside of the folder is read. Errors: `file-unusable`. */
function pathsBelow(dir: string): string[] {
  try {
    return readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(dir, sep).length))
      .map((path) => path.split(sep).join("/"));
  } catch (cause) {
    throw new FleetError("file-unusable", `${dir} cannot be read`, { cause });
  }
}

const textOf = (path: string) => new TextDecoder().decode(readFile(path));

const linesOf = (path: string) =>
  textOf(path)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "");

interface TextFlags extends CommonFlags {
  readonly tokenizer: string;
  readonly length?: number;
  readonly bytes?: number;
}

function addFromTexts(...[golden, io]: Parameters<CommandGroup["add"]>): void {
  const command = golden
    .command("from-texts <file>")
    .description("make a golden set and an interface out of labelled texts")
    .requiredOption("--model <file>", "ONNX file that takes the tokens")
    .requiredOption("--tokenizer <file>", "tokenizer.json that makes them")
    .requiredOption("--out <dir>", "where golden.json, its arrays, interface and tokenizer go")
    .option("--length <tokens>", "how many the model takes, when it leaves that open", wholeOf)
    .option("--bytes <number>", "of the longest text; by what is in the file otherwise", wholeOf)
    .option("--classes <file>", "one class per line, in the model's order")
    .option("--name <text>", "for people; the file's name otherwise")
    .action(async (file: string, flags: TextFlags) => {
      const tokenizer = readFile(flags.tokenizer);
      parseTokenizer(flags.tokenizer, bytesInMemory(tokenizer));
      const made = goldenFromTexts(Model.decode(readModelFile(flags.model)), textOf(file), {
        name: flags.name ?? file.slice(-nameLengthMax),
        classes: flags.classes === undefined ? undefined : linesOf(flags.classes),
        length: flags.length,
        bytes: flags.bytes,
      });
      const files = new Map([...made.files, ["tokenizer.json", tokenizer]]);
      await write(resolve(flags.out), { ...made, files });
      const answer = { out: flags.out, texts: made.count };
      show(io, flags, answer, ({ texts }) =>
        facts([
          ["texts", texts],
          ["next", compressLine(flags)],
        ]),
      );
    });
  withExamples(withJson(command), [
    "golden from-texts commands.jsonl --model model.onnx --tokenizer tokenizer.json --out golden",
    "golden from-texts commands.jsonl --model model.onnx --tokenizer tokenizer.json --out golden --length 64 --json",
  ]);
}

const compressLine = ({ model, out }: CommonFlags) =>
  `fleetfit compress ${model} --golden ${join(out, "golden.json")} --interface ${join(out, "interface.json")}`;

/** The manifest comes last: a folder with one is whole. */
async function write(
  out: string,
  { manifest, files, interface: spec }: Pick<ImageGolden, "manifest" | "files" | "interface">,
): Promise<void> {
  const real = systemFiles();
  const json = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  for (const [name, bytes] of files) await writeFileAtomic(real, join(out, name), bytes);
  await writeFileAtomic(real, join(out, "interface.json"), json(spec));
  await writeFileAtomic(real, join(out, "golden.json"), json(manifest));
}

function sizeOf(text: string): [number, number] {
  const [, height, width] = /^(\d{1,4})x(\d{1,4})$/.exec(text) ?? [];
  if (height === undefined || width === undefined) {
    throw new InvalidArgumentError("write height and width as 224x224");
  }
  return [Number(height), Number(width)];
}

function numberOf(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("not a number");
  return value;
}

function wholeOf(text: string): number {
  const value = Number(text);
  if (/^\d{1,6}$/.test(text) && value > 0) return value;
  throw new InvalidArgumentError("a whole number from 1 to 999999");
}

const numbersOf = (text: string) => text.split(",").map(numberOf);

const oneOf =
  (...choices: readonly string[]) =>
  (text: string) => {
    if (choices.includes(text)) return text;
    throw new InvalidArgumentError(`one of ${choices.join(", ")}`);
  };

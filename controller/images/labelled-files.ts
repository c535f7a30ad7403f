/**
 * Which class each image of a folder has: by the folder that it lies in, or by a list of labels.
 *
 * Invariant: the order of images depends on their names alone, so the same folder gives the same golden set.
 */
import { FleetError } from "../../shared/errors.ts";

export interface LabelledFile {
  /** Relative to the folder of images, with `/`. */
  readonly path: string;
  readonly label: number;
  /** Slice of the golden set; absent without regions. */
  readonly region?: string;
}

export interface LabelledFiles {
  readonly files: readonly LabelledFile[];
  readonly classes: readonly string[];
}

const filesMax = 1_000_000;
const classesMax = 100_000;
const imageName = /\.(jpe?g|png|webp|gif|tiff?|avif)$/i;

/** True for the kinds of image that can be read, by the end of the name. */
export const isImageName = (path: string): boolean => imageName.test(path);

/**
 * One folder per class: `cat/1.jpg`. Classes are the names of the folders in their order, or `classes`, which
 * then fixes numbers and may name more. Errors: `golden-invalid`.
 */
export function byFolder(
  paths: readonly string[],
  classes: readonly string[] | undefined,
): LabelledFiles {
  const images = paths.filter(isImageName).toSorted(byText);
  const names = classes ?? [...new Set(images.map(folderOf))];
  const files = images.map((path) => ({ path, label: numberOf(folderOf(path), names, path) }));
  return checked({ files, classes: names });
}

/**
 * Lines of `path,label` or `path,label,region`; a label is a class's name or number. A first line that reads
 * `file,label` or `path,label` is a head. Errors: `golden-invalid`, naming the line.
 */
export function byList(text: string, classes: readonly string[] | undefined): LabelledFiles {
  const rows = text.split(/\r?\n/).flatMap((line, at) => {
    if (line.trim() === "" || (at === 0 && /^(file|path),label/i.test(line))) return [];
    const [path = "", label = "", region] = line.split(",").map((cell) => cell.trim());
    if (path === "" || label === "" || path.split("/").includes("..")) {
      throw invalid(`line ${at + 1} of the labels is not path,label: ${line.slice(0, 80)}`);
    }
    return [{ path, label, region }];
  });
  const names = classes ?? classesOf(rows.map(({ label }) => label));
  const files = rows
    .toSorted((a, b) => byText(a.path, b.path))
    .map(({ path, label, region }) => ({
      path,
      label: numberOf(label, names, path),
      ...(region === undefined || region === "" ? {} : { region }),
    }));
  const withRegion = files.filter((file) => "region" in file).length;
  if (withRegion !== 0 && withRegion !== files.length) {
    throw invalid("some labels name a region and others none: name one for each image, or none");
  }
  return checked({ files, classes: names });
}

/** The classes of labels that name none: numbers stand for themselves, names are numbered in their order. */
export function classesOf(labels: readonly string[]): string[] {
  if (labels.every((label) => /^\d{1,6}$/.test(label))) {
    const highest = labels.reduce((most, label) => Math.max(most, Number(label)), -1);
    return Array.from({ length: Math.min(highest + 1, classesMax) }, (_, at) => String(at));
  }
  return [...new Set(labels)].toSorted(byText);
}

/** Number of a class that is named or numbered; `path` says whose. Errors: `golden-invalid`. */
export function numberOf(label: string, classes: readonly string[], path: string): number {
  const named = classes.indexOf(label);
  if (named >= 0) return named;
  const number = /^\d{1,6}$/.test(label) ? Number(label) : Number.NaN;
  if (number < classes.length) return number;
  throw invalid(
    `${path} has label ${label}, which is none of the ${classes.length} classes: correct it, or name all classes with --classes`,
  );
}

function checked(labelled: LabelledFiles): LabelledFiles {
  const { files, classes } = labelled;
  if (files.length === 0) throw invalid("there is no image: put them into one folder per class");
  if (files.length > filesMax) throw invalid(`${files.length} images are more than ${filesMax}`);
  if (classes.length > classesMax) {
    throw invalid(`${classes.length} classes are more than ${classesMax}`);
  }
  return labelled;
}

/** By code unit, whatever language the machine speaks. */
const byText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

const folderOf = (path: string) => path.split("/").slice(0, -1).join("/");

function invalid(reason: string): FleetError {
  return new FleetError("golden-invalid", reason);
}

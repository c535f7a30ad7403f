/**
 * Reads a model from disk as one file, with what its tensors keep in files beside it.
 *
 * Invariant: nothing outside of the model's folder is read, whatever the model says and whatever links
 * lie in the folder.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
} from "node:fs";
import { dirname, join, sep } from "node:path";
import { FleetError } from "../../shared/errors.ts";
import { type ExternalRange, embedExternalData, hasExternalData } from "../onnx/external-data.ts";
import { decodeModel, encodeModel } from "../onnx/proto.ts";

/** Throws `file-unusable`. */
export function readFile(path: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw new FleetError("file-unusable", `${path} cannot be read`, { cause });
  }
}

/**
 * The bytes of an ONNX file; those of the model without external data are the file's own. Throws
 * `file-unusable`, what the codec throws, and `onnx-truncated` when a file beside it is too short.
 */
export function readModelFile(path: string): Uint8Array<ArrayBuffer> {
  const bytes = readFile(path);
  const model = decodeModel(bytes);
  if (!hasExternalData(model)) return bytes;
  const folder = realpathSync(dirname(path));
  return encodeModel(embedExternalData(model, (range) => readRange(folder, range)));
}

function readRange(folder: string, { location, offset, byteCount }: ExternalRange): Uint8Array {
  const file = openInside(folder, location);
  try {
    const { size } = fstatSync(file);
    if (offset + byteCount > size) {
      throw new FleetError(
        "onnx-truncated",
        `${location} has ${size} bytes, the model reads up to ${offset + byteCount}: copy it again`,
        { details: { location, fileBytes: size } },
      );
    }
    const bytes = new Uint8Array(byteCount);
    for (let at = 0; at < byteCount; ) {
      const count = readSync(file, bytes, at, byteCount - at, offset + at);
      if (count === 0) throw new FleetError("onnx-truncated", `${location} became shorter`);
      at += count;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

/** A regular file in the folder, opened; links that lead out of it are refused. */
function openInside(folder: string, location: string): number {
  const path = join(folder, location);
  const unusable = (why: string, cause?: unknown): FleetError =>
    new FleetError("file-unusable", `${location}, which holds weights of the model, ${why}`, {
      details: { location },
      cause,
    });
  let file: number;
  try {
    const target = realpathSync(path);
    if (!target.startsWith(folder.endsWith(sep) ? folder : folder + sep)) {
      throw unusable("is a link out of the model's folder: copy the file there");
    }
    // A pipe would block an open for reading; a link put there since would be followed.
    file = openSync(target, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    if (cause instanceof FleetError) throw cause;
    throw unusable("cannot be read: copy it beside the model", cause);
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  throw unusable("is no regular file");
}

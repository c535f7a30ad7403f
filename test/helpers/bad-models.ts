/** The tiny classifier, misbehaving. */
import { encodeModel } from "../../controller/onnx/proto.ts";
import {
  markedImage as imageOf,
  type Misbehaviour,
  misbehaving,
} from "../../scripts/models/misbehaviour.ts";
import { tinyClassifier } from "./tiny-classifier.ts";

export type { Misbehaviour } from "../../scripts/models/misbehaviour.ts";

export const markedImage = imageOf(64);

export function badModelBytes(how: Misbehaviour): Uint8Array<ArrayBuffer> {
  return encodeModel(misbehaving(tinyClassifier(), how));
}

/** Everything that the benchmark compresses: a new subject is one line here. */
import type { Subject } from "../subject.ts";
import { detectorSubject, recogniserSubject } from "./ocr.ts";
import { sharedModel, sharedModelNames } from "./shared-models.ts";
import {
  autoencoderSubject,
  mobileNetSubject,
  recurrentSubject,
  textSubject,
  transformerSubject,
} from "./zoo.ts";

type Say = (line: string) => void;

export interface SubjectSource {
  readonly name: string;
  readonly open: (say: Say) => Subject | Promise<Subject>;
}

export const subjectSources: readonly SubjectSource[] = [
  ...sharedModelNames.map((name) => ({ name, open: (say: Say) => sharedModel(name, say) })),
  ...(["relu6", "silu", "hard-swish"] as const).map((gate) => ({
    name: `mobile-net-${gate}`,
    open: (say: Say) => mobileNetSubject(gate, say),
  })),
  ...(["LSTM", "GRU"] as const).map((cell) => ({
    name: cell.toLowerCase(),
    open: (say: Say) => recurrentSubject(cell, say),
  })),
  { name: "transformer", open: transformerSubject },
  { name: "autoencoder", open: autoencoderSubject },
  { name: "text", open: textSubject },
  { name: "ocr-detector", open: detectorSubject },
  { name: "ocr-recogniser", open: recogniserSubject },
];

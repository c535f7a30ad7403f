/**
 * Holds three things against each other before anything is stored: what the ONNX file takes and
 * yields, what the operator says about it, and what the golden set brings.
 */
import {
  assetNames,
  type Dtype,
  dtypeSchema,
  type InputSpec,
  type ModelInterface,
  tokenizeStep,
} from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import type { GoldenSet } from "../../shared/evaluation/golden-set.ts";
import { metricOf } from "../../shared/evaluation/metrics/registry.ts";
import {
  type Assets,
  assetNamed,
  type PrepareSample,
  preparerWith,
  sampleBytes,
} from "../../shared/inference/processing/registry.ts";
import type { Tokenizer } from "../../shared/inference/processing/tokenizer.ts";
import { parseTokenizer } from "../../shared/inference/processing/tokenizer-file.ts";
import { checkModel } from "../onnx/checker.ts";
import { Model } from "../onnx/model.ts";
import { checkTextInput } from "./text-input.ts";

/**
 * The interface that an operator wrote, or one made from file and set, after checking that all three fit,
 * and the files that it reads. Errors: those of the codec and checker, `golden-mismatch`,
 * `onnx-unsupported`, `artifact-missing`, `too-large`, `tokenizer-invalid`.
 */
export function checkedInterface(
  sourceBytes: Uint8Array,
  golden: GoldenSet,
  written: ModelInterface | undefined,
  assets: Assets,
): ModelInterface {
  const model = Model.decode(sourceBytes);
  checkModel(model.toProto());
  const spec = written ?? defaultInterface(model, golden);
  checkFit(model, spec, golden);
  checkTexts(model, spec, golden, assets);
  return spec;
}

/** Inputs that a caller must feed. */
function fedInputs({ graph }: Model): string[] {
  return graph.inputNames.filter((name) => !graph.initializers.has(name));
}

/**
 * An interface from the file and the golden set alone: samples as the set stores them, cast where the
 * model wants another type; numbered labels for classifiers, raw tensors otherwise.
 * Errors: `golden-mismatch`, `onnx-unsupported`.
 */
function defaultInterface(model: Model, golden: GoldenSet): ModelInterface {
  const inputs = fedInputs(model).map((tensor): InputSpec => {
    const sample = golden.inputs[tensor];
    if (sample === undefined) throw mismatch(`the golden set has no samples for input ${tensor}`);
    const wanted = inputType(model, tensor);
    return {
      tensor,
      sample: { dtype: sample.dtype, shape: [...sample.shape] },
      steps: sample.dtype === wanted ? [] : [{ op: "cast", to: wanted }],
    };
  });
  const [first = ""] = model.graph.outputNames;
  const classes = model.graph.declaredShape(first)?.at(-1);
  const output = metricOf(golden.metric)?.output;
  if (output !== "classification" || typeof classes !== "number") {
    return { inputs, output: { kind: "tensors", tensors: model.graph.outputNames } };
  }
  const normalized = model.graph.producerOf(first)?.opType === "Softmax";
  return {
    inputs,
    output: {
      kind: "classification",
      tensor: first,
      scores: normalized ? "none" : "softmax",
      labels: Array.from({ length: classes }, (_, index) => String(index)),
    },
  };
}

/** Errors: `golden-mismatch`, naming what does not fit what. */
function checkFit(model: Model, spec: ModelInterface, golden: GoldenSet): void {
  const described = new Set(spec.inputs.map(({ tensor }) => tensor));
  for (const name of fedInputs(model)) {
    if (!described.has(name)) throw mismatch(`the interface does not describe input ${name}`);
  }
  const prepare = preparerWith(new Map(assetNames(spec).map((name) => [name, noTokens])));
  for (const input of spec.inputs) checkInput(model, input, golden, prepare);
  const outputs = new Set(model.graph.outputNames);
  const { output } = spec;
  const named = output.kind === "tensors" ? output.tensors : [output.tensor];
  for (const name of named) {
    if (!outputs.has(name)) throw mismatch(`the model has no output named ${name}`);
  }
  const judged = metricOf(golden.metric)?.output;
  if (judged === "tensors" && output.kind !== "tensors") {
    throw mismatch(
      `${golden.metric} judges raw outputs, but the model's output is described as classes`,
    );
  }
  if (judged !== "classification") return;
  if (output.kind !== "classification") {
    throw mismatch("the golden set judges classes, but the model's output is not described as one");
  }
  const highest = golden.labels.reduce((a, b) => Math.max(a, b), 0);
  if (highest >= output.labels.length) {
    throw mismatch(
      `the golden set has label ${highest}, the model ${output.labels.length} classes`,
    );
  }
}

/** For the shapes alone: a pattern of a tokenizer may take forever, so it is run in a child and not here. */
const noTokens: Tokenizer = { ids: () => [], padId: 0, padsLeft: false };

function checkTexts(model: Model, spec: ModelInterface, golden: GoldenSet, assets: Assets): void {
  const files = new Map(
    assetNames(spec).map((name) => [name, parseTokenizer(name, assetNamed(assets, name))]),
  );
  for (const input of spec.inputs) {
    const file = files.get(tokenizeStep(input)?.asset ?? "");
    if (file !== undefined) checkTextInput(model.graph, input, golden, file);
  }
}

function checkInput(
  model: Model,
  input: InputSpec,
  golden: GoldenSet,
  prepare: PrepareSample,
): void {
  const { tensor, sample } = input;
  if (!model.graph.isInput(tensor)) throw mismatch(`the model has no input named ${tensor}`);
  const set = golden.inputs[tensor];
  if (set === undefined) throw mismatch(`the golden set has no samples for input ${tensor}`);
  const isSame = set.dtype === sample.dtype && String(set.shape) === String(sample.shape);
  if (!isSame) {
    throw mismatch(
      `input ${tensor} takes samples of ${sample.dtype} [${sample.shape}], the golden set has ${set.dtype} [${set.shape}]`,
    );
  }
  const prepared = prepare(input, new Uint8Array(sampleBytes(input)));
  const wanted = inputType(model, tensor);
  if (prepared.dtype !== wanted) {
    throw mismatch(`input ${tensor} is ${wanted}, its samples become ${prepared.dtype}`);
  }
  const declared = model.graph.declaredShape(tensor);
  if (declared === undefined) return;
  const shape = declared.length === prepared.shape.length ? prepared.shape : [1, ...prepared.shape];
  const fits =
    shape.length === declared.length &&
    declared.every((size, axis) => typeof size !== "number" || size < 1 || size === shape[axis]);
  if (!fits) {
    const sizes = declared.map((size) => size ?? "?").join(", ");
    throw mismatch(`input ${tensor} has shape [${sizes}], its samples become [${shape}]`);
  }
}

function inputType(model: Model, tensor: string): Dtype {
  const parsed = dtypeSchema.safeParse(model.graph.declaredType(tensor));
  if (parsed.success) return parsed.data;
  throw new FleetError("onnx-unsupported", `the element type of input ${tensor} is not supported`);
}

function mismatch(reason: string): FleetError {
  return new FleetError("golden-mismatch", reason);
}

/**
 * Static int8 in which the fewest layers stay float that an accuracy floor asks for: `quantize-static`
 * with its `exclude` found by measuring.
 *
 * Needs samples: held-out ones decide, calibration samples stand in where there are none. Which layers
 * stay, how sensitive each one is and what the search cost is in the report.
 * Source: sensitivity by one layer at a time as in AIMET's and NNCF's accuracy control, but with the layer
 * alone float instead of alone quantized: what is left is what it costs in company of all others.
 */
import { z } from "zod";
import { isFleetError } from "../../../shared/errors.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { type FewestFloatLayers, fewestFloatLayers } from "../accuracy/fewest-float-layers.ts";
import { floorOptions, missesOf } from "../accuracy/floor.ts";
import { answersOf, signalToNoise } from "../calibration/score.ts";
import type { Outputs, Workbench } from "../execute.ts";
import { type BoundPass, definePass, type PassContext, type PassResult } from "../pass.ts";
import { quantizeStatic } from "./quantize-static.ts";

const options = z
  .strictObject({
    ...floorOptions,
    /** Most models that the search evaluates. */
    evaluationsMax: z.int().min(3).max(2_000).default(60),
    /** Samples that rank layers; floors are held on all. */
    rankingSamples: z.int().min(1).max(10_000).default(64),
    /** Options of quantize-static. */
    quantize: z.record(z.string(), z.unknown()).default({}),
  })
  .superRefine(({ quantize }, context) => {
    try {
      quantizeStatic.bind(quantize);
    } catch (error) {
      if (!isFleetError(error)) throw error;
      context.addIssue({ code: "custom", path: ["quantize"], message: error.message });
    }
  });

type Options = z.output<typeof options>;

export const quantizeMixed = definePass({
  name: "quantize-mixed",
  summary: "Static int8 that leaves the fewest layers float that an accuracy floor asks for.",
  options,
  tolerance: { kind: "signal", decibelMin: 20 },
  needsSamples: true,
  notApplicable: (model, pass) => bound(pass).notApplicable(model),
  requires: (model, pass) => bound(pass).requires(model),
  calibration(model, pass) {
    const need = bound(pass).calibration(model);
    if (need === undefined) return undefined;
    return {
      ...need,
      tensors: [...new Set([...need.tensors, ...mayNeedScale(model.graph)])].sort(),
    };
  },
  ensures: (model) => quantizeStatic.bind(undefined).ensures(model),
  run: quantize,
});

/** Whichever layers stay float, no value but these gets a scale. */
function mayNeedScale(graph: Graph): string[] {
  const types = elementTypes(graph);
  return graph.nodes
    .filter((node) => factOf(node)?.quantization !== undefined)
    .flatMap((node) => [...node.inputs, ...node.outputs])
    .filter((name) => types.get(name) === "float32" && graph.constant(name) === undefined);
}

function bound({ quantize }: Options, exclude: readonly string[] = []): BoundPass {
  const own = z.array(z.string()).catch([]).parse(quantize["exclude"]);
  return quantizeStatic.bind({ ...quantize, exclude: [...own, ...exclude] });
}

async function quantize(context: PassContext, model: Model, pass: Options): Promise<PassResult> {
  const { workbench } = context;
  const make = async (float: readonly string[]) => {
    const candidate = model.clone();
    const { report } = await bound(pass, float).run(context, candidate);
    return { candidate, report };
  };
  const layers = z.array(z.string()).parse((await make([])).report["int8"]);
  const found =
    workbench === undefined
      ? undefined
      : await search(workbench, { context, model, pass, layers, make });
  const { modified, report } = await bound(pass, found?.float).run(context, model);
  return { modified, report: { ...report, ...(found === undefined ? {} : told(found)) } };
}

interface SearchIn {
  readonly context: PassContext;
  readonly model: Model;
  readonly pass: Options;
  readonly layers: readonly string[];
  readonly make: (float: readonly string[]) => Promise<{ candidate: Model }>;
}

async function search(
  workbench: Workbench,
  { context, model, pass, layers, make }: SearchIn,
): Promise<FewestFloatLayers> {
  const { signal } = context;
  const judge = workbench.heldOut === undefined ? undefined : workbench.judge;
  const answers = (of: Model, samplesMax?: number) =>
    answersOf(workbench, of, { signal, samplesMax });
  const source = await answers(model);
  const sourceLosses = judge?.losses(source);
  return fewestFloatLayers({
    layers,
    evaluationsMax: pass.evaluationsMax,
    async evaluate(float) {
      const { candidate } = await make(float);
      const outputs = await answers(candidate);
      const decibel = meanDecibel(source, outputs);
      const judged = { losses: judge?.losses(outputs), slices: judge?.slices, decibel };
      return { noise: noiseOf(decibel), misses: missesOf(pass, judged, sourceLosses) };
    },
    async rank(float) {
      const { candidate } = await make(float);
      return noiseOf(meanDecibel(source, await answers(candidate, pass.rankingSamples)));
    },
  });
}

/** Over as many samples as `actual` holds. */
function meanDecibel(expected: readonly Outputs[], actual: readonly Outputs[]): number {
  const ratios = actual.map((outputs, at) => signalToNoise(expected[at]!, outputs));
  return ratios.reduce((sum, ratio) => sum + ratio, 0) / Math.max(1, ratios.length);
}

const noiseOf = (decibel: number) => 10 ** (-decibel / 10);
const decibelOf = (noise: number) => -10 * Math.log10(noise);

function told({ float, quality, sensitivities, evaluations }: FewestFloatLayers) {
  return {
    float,
    evaluations,
    decibel: decibelOf(quality.noise),
    misses: quality.misses,
    sensitivities: sensitivities.map(
      ({ layers, noise }) => `${layers.join(", ")}: ${decibelOf(noise).toFixed(1)} dB when float`,
    ),
  };
}

/**
 * The models that a device times to find out what operators cost on it: chains of one operator, short and
 * long, in float32 and on codes (QOperator form, so that nothing but the operator is in them).
 *
 * Sizes: channel counts around the steps in which kernels work (16 and 8 floats, 4 codes), so that the
 * steps themselves can be read from the table; see `channel-steps.ts`.
 */
import type { CostProbe } from "../../../shared/inference/cost-probes.ts";
import type { CostOperator } from "../../../shared/inference/cost-table.ts";
import { seededRandom } from "../../../shared/prng.ts";
import {
  type AttributeInputs,
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
} from "../../onnx/build.ts";
import { encodeModel } from "../../onnx/proto.ts";
import type { NodeProto, TensorProto } from "../../onnx/schema.ts";
import { floatTensor, makeTensor } from "../../onnx/tensor.ts";

const shortLength = 1;
const longLength = 9;
const side = 16;
const opset = 13;
/** A prime. */
const repeatAfter = 2_039;
/** How far the numbers of one seed begin behind those of the one before. */
const seedStep = 211;
const codeSteps = 64;
const microsoft = "com.microsoft";

type ProbeType = CostProbe["type"];

/** What one link of a chain is; names are relative to the link. */
interface Link {
  readonly nodes: (from: string, to: string) => readonly NodeProto[];
  readonly constants: readonly TensorProto[];
}

interface Size {
  readonly operator: CostOperator;
  readonly channels: number;
  readonly pixels: number;
}

const convChannels = [8, 16, 32, 48, 56, 60, 62, 64, 128];

const sizes: readonly Size[] = [
  ...sized("conv-3x3", convChannels, side * side),
  ...sized("conv-1x1", convChannels, side * side),
  ...sized("depthwise-3x3", [16, 32, 64, 128], side * side),
  ...sized("gemm", [32, 64, 128, 256, 512], 1),
  ...sized("add", [16, 64, 256], side * side),
  ...sized("quantize", [16, 64, 256], side * side),
];

/** All probes, in the order in which they are timed. */
export function costProbes(): CostProbe[] {
  return sizes.flatMap((size) => {
    const types: readonly ProbeType[] =
      size.operator === "quantize" ? ["int8"] : ["float32", "int8"];
    return types.map((type) => probeOf(size, type));
  });
}

function sized(operator: CostOperator, channels: readonly number[], pixels: number): Size[] {
  return channels.map((count) => ({ operator, channels: count, pixels }));
}

function probeOf(size: Size, type: ProbeType): CostProbe {
  const { operator, channels, pixels } = size;
  const onFloats = type === "float32" || operator === "quantize";
  const shape = operator === "gemm" ? [1, channels] : [1, channels, side, pixels / side];
  const count = channels * pixels;
  return {
    ...size,
    type,
    shortModel: chain(size, type, { shape, length: shortLength, onFloats }),
    longModel: chain(size, type, { shape, length: longLength, onFloats }),
    links: longLength - shortLength,
    input: onFloats
      ? { name: "x", dtype: "float32", shape, data: new Uint8Array(values(count, 1).buffer) }
      : {
          name: "x",
          dtype: "uint8",
          shape,
          data: Uint8Array.from(codes(count, 1), (code) => code + 128),
        },
  };
}

function chain(
  { operator, channels }: Size,
  type: ProbeType,
  form: { readonly shape: readonly number[]; readonly length: number; readonly onFloats: boolean },
): Uint8Array {
  const { shape, length, onFloats } = form;
  const nodes: NodeProto[] = [];
  const constants: TensorProto[] = [];
  const outputs: string[] = [];
  for (let at = 0; at < length; at++) {
    // Conversions stand side by side, since the runtime drops one that undoes the one before.
    const from = at === 0 || operator === "quantize" ? "x" : `v${at - 1}`;
    const link = linkOf(operator, type, channels, at);
    nodes.push(...link.nodes(from, `v${at}`));
    constants.push(...link.constants);
    if (operator === "quantize" || at === length - 1) outputs.push(`v${at}`);
  }
  const inputType = onFloats ? "float32" : "uint8";
  const outputType = type === "float32" ? "float32" : "uint8";
  return encodeModel(
    makeModel({
      opset,
      domains: { [microsoft]: 1 },
      graph: makeGraph({
        nodes,
        initializers: constants,
        inputs: [makeValueInfo("x", inputType, shape)],
        outputs: outputs.map((name) => makeValueInfo(name, outputType, shape)),
      }),
    }),
  );
}

function linkOf(operator: CostOperator, type: ProbeType, channels: number, at: number): Link {
  if (operator === "quantize") return quantizeLink(at);
  if (operator === "add")
    return type === "float32" ? { nodes: reading("Add", ["x"]), constants: [] } : addOfCodes(at);
  if (operator === "gemm") return weightedLink({ operator, type, at, shape: [channels, channels] });
  const kernel = operator === "conv-1x1" ? 1 : 3;
  const isDepthwise = operator === "depthwise-3x3";
  const pad = (kernel - 1) / 2;
  const shape = [channels, isDepthwise ? 1 : channels, kernel, kernel];
  return weightedLink({
    operator,
    type,
    at,
    shape,
    attributes: {
      pads: { ints: [pad, pad, pad, pad] },
      group: { int: isDepthwise ? channels : 1 },
    },
  });
}

function quantizeLink(at: number): Link {
  // Scales differ, or else the runtime computes one conversion for all.
  const constants = codeConstants(at, 0.01 + at / 1000);
  return { nodes: reading("QuantizeLinear", [`s${at}`, `z${at}`]), constants };
}

function addOfCodes(at: number): Link {
  const coded = [`s${at}`, `z${at}`];
  const others = [...coded, "x", ...coded, ...coded];
  return {
    nodes: reading("QLinearAdd", others, { domain: microsoft }),
    constants: codeConstants(at),
  };
}

function codeConstants(at: number, scale = 0.02): TensorProto[] {
  return [
    floatTensor(`s${at}`, [], [scale]),
    makeTensor({ name: `z${at}`, type: "uint8", shape: [], data: Uint8Array.of(128) }),
  ];
}

/** Conv or Gemm with a weight that keeps magnitudes as they are. */
function weightedLink(options: {
  readonly operator: CostOperator;
  readonly type: ProbeType;
  readonly at: number;
  readonly shape: readonly number[];
  readonly attributes?: AttributeInputs;
}): Link {
  const { operator, type, at, shape, attributes = {} } = options;
  const count = shape.reduce((product, length) => product * length, 1);
  const weight = `w${at}`;
  const opType = operator === "gemm" ? "Gemm" : "Conv";
  const terms = operator === "gemm" ? shape[0]! : count / shape[0]!;
  if (type === "float32") {
    const tensor = floatTensor(weight, shape, values(count, at, Math.sqrt(3 / terms)));
    return { nodes: reading(opType, [weight], { attributes }), constants: [tensor] };
  }
  const constants = [
    ...codeConstants(at),
    makeTensor({ name: weight, type: "int8", shape, data: codes(count, at) }),
    floatTensor(`ws${at}`, [], [0.02 / Math.sqrt(terms)]),
    makeTensor({ name: `wz${at}`, type: "int8", shape: [], data: new Int8Array(1) }),
  ];
  const coded = [`s${at}`, `z${at}`];
  const weightInputs = [weight, `ws${at}`, `wz${at}`];
  const nodes =
    operator === "gemm"
      ? reading("QGemm", [...coded, ...weightInputs, "", ...coded], { domain: microsoft })
      : reading("QLinearConv", [...coded, ...weightInputs, ...coded], { attributes });
  return { nodes, constants };
}

/** One node that reads the value before it and `others`. */
function reading(
  opType: string,
  others: readonly string[],
  more: { readonly attributes?: AttributeInputs; readonly domain?: string } = {},
): Link["nodes"] {
  return (from, to) => [makeNode({ opType, inputs: [from, ...others], outputs: [to], ...more })];
}

/**
 * Reproducible numbers between −`scale` and `scale`, other ones for each `seed`. They repeat after a prime
 * number of them, which no row of a weight divides: the probes travel to devices, and packing takes
 * repetition out.
 */
function values(count: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const period = Float32Array.from(periodOf(seed), (code) => (code / codeSteps) * scale);
  return repeated(new Float32Array(count), period);
}

/** Reproducible codes from −63 to 63, as `values`. */
function codes(count: number, seed: number): Int8Array<ArrayBuffer> {
  return repeated(new Int8Array(count), periodOf(seed));
}

/** The same numbers for all seeds, begun at another one, so that they are packed once. */
function periodOf(seed: number): Int8Array<ArrayBuffer> {
  const random = seededRandom(1);
  const period = Int8Array.from({ length: repeatAfter }, () =>
    Math.trunc((2 * random.nextFloat() - 1) * codeSteps),
  );
  const from = (seed * seedStep) % repeatAfter;
  return Int8Array.of(...period.subarray(from), ...period.subarray(0, from));
}

function repeated<Values extends Float32Array | Int8Array>(target: Values, period: Values): Values {
  for (let at = 0; at < target.length; at += repeatAfter) {
    target.set(period.subarray(0, target.length - at), at);
  }
  return target;
}

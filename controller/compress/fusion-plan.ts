/**
 * Holds what a runtime runs against what a recipe planned: which of the layers that were meant to
 * multiply integers do, which fell back to float, and most likely why.
 *
 * The plan is the list `int8` in the journal of the passes that quantize, under the names that `compact`
 * gave the layers. onnxruntime keeps a node's name when it makes a kernel of it, with `_token_N` behind
 * it where the layout of its tensors changed.
 */
import { FleetError } from "../../shared/errors.ts";
import { decodeModel } from "../onnx/proto.ts";
import type { GraphProto, NodeProto } from "../onnx/schema.ts";
import { integerKernels } from "./fusion-audit.ts";
import type { Report } from "./pass.ts";

export interface PlannedLayer {
  /** As the source model and the journal name it. */
  readonly layer: string;
  /** Name of its node in the file that was made. */
  readonly node: string;
}

export interface FallenLayer {
  readonly layer: string;
  /** A guess from what stands around the node that the runtime runs instead. */
  readonly reason: string;
}

export interface PlanAudit {
  readonly planned: number;
  readonly fellBack: readonly FallenLayer[];
}

/** The layers that a recipe's passes meant to run in int8. */
export function plannedLayers(
  journal: readonly { readonly pass: string; readonly report: Report }[],
): PlannedLayer[] {
  const names = (report: Report, key: string): readonly string[] => {
    const value = report[key];
    return Array.isArray(value) ? value : [];
  };
  // `compact` writes renamed layers as `new=old`; new names have no equals sign.
  const renamed = new Map(
    journal
      .filter(({ pass }) => pass === "compact")
      .flatMap(({ report }) => names(report, "layers"))
      .map((entry) => {
        const at = entry.indexOf("=");
        return [entry.slice(at + 1), entry.slice(0, at)] as const;
      }),
  );
  return journal
    .flatMap(({ report }) => names(report, "int8"))
    .map((layer) => ({ layer, node: renamed.get(layer) ?? layer }));
}

/** Looks for the plan in the file that the runtime wrote. Throws what `decodeModel` throws. */
export function auditPlan(
  plan: readonly PlannedLayer[],
  optimizedModelBytes: Uint8Array,
): PlanAudit {
  const graph = decodeModel(optimizedModelBytes).graph!;
  const integers = new Set(
    graph.node
      .filter(({ opType }) => integerKernels.has(opType ?? ""))
      .map(({ name }) => (name ?? "").replace(/_token_\d+$/, "")),
  );
  const fellBack = plan
    .filter(({ node }) => !integers.has(node))
    .map(({ layer, node }) => ({ layer, reason: reasonOf(graph, node) }));
  return { planned: plan.length, fellBack };
}

/** The error of a variant that does not run as planned; names the first layers. */
export function planFellBack(
  recipe: string,
  planned: number,
  fellBack: readonly FallenLayer[],
): FleetError {
  const shown = fellBack.slice(0, 3).map(({ layer, reason }) => `${layer}: ${reason}`);
  const more = fellBack.length > shown.length ? `; and ${fellBack.length - shown.length} more` : "";
  return new FleetError(
    "plan-fell-back",
    `${fellBack.length} of ${planned} layers that recipe ${recipe} quantizes run in float here (${shown.join("; ")}${more}): ` +
      "take another scheme, or set allowFallback in the recipe when it is made for other processors",
    { details: { recipe, fellBack } },
  );
}

/** Why the node that stands where `name` was planned works on floats. */
function reasonOf(graph: GraphProto, name: string): string {
  const node = graph.node.find((each) => (each.name ?? "").startsWith(name));
  if (node === undefined) return "the runtime merged it into another node";
  const input = dequantizeOf(graph, node.input[0]);
  if (input === undefined) return "its input is not quantized";
  const output = node.output[0] ?? "";
  const readers = readersOf(graph, output);
  const isQuantized = readers.some(({ opType }) => opType === "QuantizeLinear");
  if (node.opType === "Gemm" && name !== node.name) return "a float sum behind it was joined to it";
  if (node.opType === "FusedConv") return "the activation behind it does not end where codes do";
  if (!isQuantized) return "its output is not quantized";
  if (readers.length > 1) return "its output is read as float too";
  if ([input, ...readers].some((each) => zeroPointType(graph, each) === int8Code))
    return "this processor runs no int8 activations";
  return "the runtime has no 8-bit kernel for this form of it";
}

/** ONNX TensorProto.DataType INT8. */
const int8Code = 3;

/** Nodes that only change the layout of a tensor in memory. */
const isReorder = ({ opType }: NodeProto): boolean =>
  opType === "ReorderInput" || opType === "ReorderOutput" || opType === "Transpose";

function dequantizeOf(graph: GraphProto, value: string | undefined): NodeProto | undefined {
  const maker = graph.node.find(({ output }) => value !== undefined && output.includes(value));
  if (maker === undefined) return undefined;
  if (isReorder(maker)) return dequantizeOf(graph, maker.input[0]);
  return maker.opType === "DequantizeLinear" ? maker : undefined;
}

function readersOf(graph: GraphProto, value: string): NodeProto[] {
  const readers = graph.node.filter(({ input }) => input.includes(value));
  return readers.flatMap((node) =>
    isReorder(node) ? readersOf(graph, node.output[0] ?? "") : [node],
  );
}

/** Of QuantizeLinear and DequantizeLinear. */
function zeroPointType(graph: GraphProto, node: NodeProto): number | undefined {
  return graph.initializer.find(({ name }) => name === node.input[2])?.dataType;
}

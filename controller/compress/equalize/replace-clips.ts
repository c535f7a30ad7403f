/**
 * Puts Relu in place of Clip(x, 0, b), which lets no factor pass, where held-out samples show no harm: the
 * mean loss must not rise, or, without labels, every output must stay as good as equal.
 *
 * All are tried together first, then one by one, so a model with n of them is run 1 + 1 + n times at most.
 */
import { FleetError } from "../../../shared/errors.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { Feeds, Outputs, Workbench } from "../execute.ts";
import type { PassContext } from "../pass.ts";

/** Signal over noise that counts as equal where nothing else can be asked: 60 dB, as a ratio of powers. */
const equalRatioMin = 1e6;

/** Edits the model; returns how many were replaced. Throws `pass-failed` without held-out samples. */
export async function replaceClips(context: PassContext, model: Model): Promise<number> {
  const clips = model.graph.nodes.filter((node) => isClipAtZero(model.graph, node));
  if (clips.length === 0) return 0;
  const heldOut = context.workbench?.heldOut;
  if (context.workbench === undefined || heldOut === undefined) {
    throw new FleetError(
      "pass-failed",
      "replaceClip needs held-out samples and there are none: add samples, or leave the option out",
    );
  }
  const trial = new Trial(context.workbench, heldOut, context.signal);
  const expected = await trial.answers(model);
  const names = clips.map((clip) => clip.output(0));
  const holds = async (replaced: readonly string[]): Promise<boolean> => {
    const candidate = model.clone();
    replace(candidate.graph, replaced);
    return trial.isAsGood(expected, await trial.answers(candidate));
  };
  const kept: string[] = [];
  if (await holds(names)) kept.push(...names);
  else for (const name of names) if (await holds([...kept, name])) kept.push(name);
  replace(model.graph, kept);
  return kept.length;
}

class Trial {
  readonly #workbench: Workbench;
  readonly #heldOut: () => Iterable<Feeds> | AsyncIterable<Feeds>;
  readonly #signal: AbortSignal | undefined;

  constructor(
    workbench: Workbench,
    heldOut: () => Iterable<Feeds> | AsyncIterable<Feeds>,
    signal: AbortSignal | undefined,
  ) {
    this.#workbench = workbench;
    this.#heldOut = heldOut;
    this.#signal = signal;
  }

  async answers(model: Model): Promise<Outputs[]> {
    const loaded = await this.#workbench.load(model.encode());
    const answers: Outputs[] = [];
    try {
      for await (const feeds of this.#heldOut()) {
        this.#signal?.throwIfAborted();
        answers.push(await loaded.run(feeds));
      }
    } finally {
      await loaded.close();
    }
    return answers;
  }

  isAsGood(expected: readonly Outputs[], actual: readonly Outputs[]): boolean {
    const { judge } = this.#workbench;
    if (judge !== undefined) return sum(judge.losses(actual)) <= sum(judge.losses(expected));
    return expected.every((outputs, at) =>
      [...outputs].every(([name, { data }]) => areEqual(data, actual[at]!.get(name)!.data)),
    );
  }
}

function isClipAtZero(graph: Graph, node: Node): boolean {
  const role = factOf(node)?.quantization;
  if (role?.kind !== "absorbed" || !node.is("Clip")) return false;
  return role.bounds(node, graph)?.min === 0;
}

function replace(graph: Graph, outputs: readonly string[]): void {
  for (const output of outputs) {
    const clip = graph.producerOf(output)!;
    graph.removeNode(clip);
    graph.addNode({
      opType: "Relu",
      inputs: [clip.input(0)],
      outputs: [output],
      ...(clip.name === "" ? {} : { name: clip.name }),
    });
  }
}

function sum(losses: Float64Array): number {
  return losses.reduce((all, loss) => all + loss, 0);
}

function areEqual(
  expected: ArrayLike<number | bigint>,
  actual: ArrayLike<number | bigint>,
): boolean {
  let [signal, noise] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    signal += Number(expected[at]) ** 2;
    noise += (Number(expected[at]) - Number(actual[at])) ** 2;
  }
  return noise * equalRatioMin <= signal;
}

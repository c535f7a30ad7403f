/**
 * A compression report as one HTML file: no script, no style, font or picture from elsewhere, so it can be
 * mailed and is readable in ten years.
 */
import type { Journal } from "../../shared/api/evaluation.ts";
import {
  type CompressionReport,
  foretoldTimesText,
  foretoldTimeText,
  int8Text,
  type VariantFigures,
  type VariantReport,
} from "./compression-report.ts";
import { foretoldTable, foretoldTitle } from "./foretold-table.ts";
import { escapeHtml, type Point, paretoPlot } from "./pareto.ts";

const style = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.chosen { background: #2a82; font-weight: 600; }
svg { width: 100%; max-width: 44rem; height: auto; font-size: 12px; }
svg text { fill: currentColor; } svg text.axis { text-anchor: middle; }
svg .grid { stroke: #8883; } svg .front { fill: none; stroke: #2a8; stroke-dasharray: 4 3; }
svg .chosen { fill: #2a8; } svg .best { fill: #27c; } svg .beaten { fill: #888; }
code { overflow-wrap: anywhere; } details { margin: .4rem 0; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } .plots figure { flex: 1 1 28rem; margin: 0; }
`;

export function reportPage(report: CompressionReport): string {
  const { source, golden, machine } = report;
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(source.name)}: compression</title><style>${style}</style></head>
<body>
<h1>${escapeHtml(source.name)}</h1>
<p>${bytesText(source.bytes)}, <code>${source.sha256}</code>. Golden set “${escapeHtml(golden.name)}”: ${golden.samples} samples, ${escapeHtml(golden.metric)}. onnxruntime ${escapeHtml(machine.runtime)} on a processor with ${escapeHtml(machine.cpuFlags.join(", ") || "no known extension")}.</p>
<p>${choiceText(report)}</p>
<div class="plots">${plots(report)}</div>
${variantTable(report)}
${foretoldPart(report)}
<p>${escapeHtml(foretoldTimesText(report))}</p>
<h2>Why</h2>
<ul>${report.choice.reasons.map(({ recipe, why }) => `<li><b>${escapeHtml(recipe)}</b>: ${escapeHtml(why)}</li>`).join("\n")}</ul>
<h2>What each pass did</h2>
${report.variants.map(passes).join("\n")}
</body>
</html>
`;
}

function choiceText({ choice, deviceClass }: CompressionReport): string {
  const name = escapeHtml(deviceClass);
  return choice.recipe === null
    ? `Nothing fits the class ${name}.`
    : `The class ${name} gets <b>${escapeHtml(choice.recipe)}</b>.`;
}

function plots(report: CompressionReport): string {
  const points = (costOf: (figures: VariantFigures) => number | undefined): Point[] =>
    report.variants.flatMap(({ recipe, figures }) => {
      const cost = figures === null ? undefined : costOf(figures);
      if (figures === null || cost === undefined) return [];
      return [
        {
          name: recipe,
          cost,
          value: figures.sealed.value,
          isChosen: recipe === report.choice.recipe,
        },
      ];
    });
  const value = report.golden.metric;
  const bySize = paretoPlot(
    points(({ bytes }) => bytes),
    { cost: "size", value, costText: bytesText },
  );
  const byTime = paretoPlot(
    points(({ latency }) => latency?.p50Ms),
    {
      cost: "time of one run",
      value,
      costText: (ms) => `${ms.toPrecision(3)} ms`,
    },
  );
  return [bySize, byTime]
    .filter((plot) => plot !== "")
    .map((plot) => `<figure>${plot}</figure>`)
    .join("");
}

const columns = [
  ["recipe", ""],
  ["size", "number"],
  ["smaller", "number"],
  ["sealed", "number"],
  ["95 %", "number"],
  ["worse / better", "number"],
  ["p", "number"],
  ["p50", "number"],
  ["time of source", "number"],
  ["peak memory", "number"],
  ["int8 layers", "number"],
] as const;

function variantTable({ variants, choice, foretoldOn }: CompressionReport): string {
  const shown =
    foretoldOn === null
      ? columns
      : [...columns, [`foretold on ${escapeHtml(foretoldOn.device)}`, "number"] as const];
  const head = shown.map(([name, kind]) => `<th class="${kind}">${name}</th>`).join("");
  const rows = variants.map((variant) => {
    const kind = variant.recipe === choice.recipe ? ' class="chosen"' : "";
    const foretold = foretoldOn === null ? [] : [escapeHtml(foretoldTimeText(variant))];
    const cells = [...cellsOf(variant), ...(variant.figures === null ? [] : foretold)].map(
      (cell, at) => `<td class="${shown[at]![1]}">${cell}</td>`,
    );
    return `<tr${kind}>${cells.join("")}</tr>`;
  });
  return `<table><thead><tr>${head}</tr></thead><tbody>${rows.join("\n")}</tbody></table>`;
}

function cellsOf({ recipe, status, reason, figures }: VariantReport): string[] {
  const name = escapeHtml(recipe);
  if (figures === null) return [`${name}<br><small>${status}: ${escapeHtml(reason ?? "")}</small>`];
  const { latency, fusion, sealed, paired } = figures;
  return [
    name,
    bytesText(figures.bytes),
    `${figures.timesSmaller.toFixed(2)}×`,
    percent(sealed.value),
    `${percent(sealed.low)} … ${percent(sealed.high)}`,
    `${paired.worse} / ${paired.better}`,
    paired.p.toPrecision(2),
    latency === null ? "" : `${latency.p50Ms.toFixed(3)} ms`,
    latency === null ? "" : `${latency.cpuRatio.toFixed(2)}×`,
    bytesText(figures.ramPeakBytes),
    int8Text(fusion),
  ];
}

/** A table of its own, as it rests on fewer samples and on no measurement. */
function foretoldPart({ variants }: CompressionReport): string {
  const found = foretoldTable(
    variants.map(({ recipe, figures }) => ({ recipe, foretold: figures?.foretold ?? [] })),
  );
  if (found === undefined) return "";
  const rowOf = (cells: readonly string[], tag: "th" | "td") =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  const body = found.rows.map((cells) => rowOf(cells, "td")).join("\n");
  return `<h2>${foretoldTitle}</h2>
<p>Foretold by emulation, exact on integers, on samples of the selection part.</p>
<table><thead>${rowOf(found.head, "th")}</thead><tbody>${body}</tbody></table>`;
}

function passes({ recipe, figures }: VariantReport): string {
  if (figures === null) return "";
  const rows = figures.journal.map(
    ({ pass, modified, report }) =>
      `<tr><td>${escapeHtml(pass)}</td><td>${modified ? "" : "nothing to do"}</td><td>${entries(report)}</td></tr>`,
  );
  return `<details><summary>${escapeHtml(recipe)}</summary><table><tbody>${rows.join("\n")}</tbody></table></details>`;
}

function entries(report: Journal[number]["report"]): string {
  return Object.entries(report)
    .map(([name, value]) => {
      const text =
        typeof value === "object" ? value.map(escapeHtml).join("<br>") : escapeHtml(String(value));
      return `${escapeHtml(name)}: ${text}`;
    })
    .join("<br>");
}

const percent = (share: number) => `${(share * 100).toFixed(2)} %`;

function bytesText(bytes: number): string {
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / 1e3).toFixed(1)} kB`;
}

/** Which variants nothing beats in both size and accuracy, and a drawing of all of them. */

export interface Point {
  readonly name: string;
  /** Smaller is better: bytes, or ms. */
  readonly cost: number;
  /** Larger is better, 0 to 1. */
  readonly value: number;
  readonly isChosen: boolean;
}

/** Points that no other one beats: cheaper at no loss, or better at no cost. */
export function paretoFront(points: readonly Point[]): Point[] {
  return points.filter(
    (point) =>
      !points.some(
        (other) =>
          other.cost <= point.cost &&
          other.value >= point.value &&
          (other.cost < point.cost || other.value > point.value),
      ),
  );
}

const width = 640;
const height = 360;
const margin = { left: 64, right: 24, top: 16, bottom: 48 };

/** An SVG without scripts; the cost axis is logarithmic when costs differ more than tenfold. */
export function paretoPlot(
  points: readonly Point[],
  axes: {
    readonly cost: string;
    readonly value: string;
    readonly costText: (cost: number) => string;
  },
): string {
  if (points.length === 0) return "";
  const x = scaleOf(
    points.map(({ cost }) => cost),
    [margin.left, width - margin.right],
  );
  const y = scaleOf(
    points.map(({ value }) => value),
    [height - margin.bottom, margin.top],
    "linear",
  );
  const front = new Set(paretoFront(points));
  const line = [...front]
    .toSorted((a, b) => a.cost - b.cost)
    .map(({ cost, value }) => `${x.at(cost)},${y.at(value)}`)
    .join(" ");
  const marks = points.map((point) =>
    mark(point, x.at(point.cost), y.at(point.value), front.has(point)),
  );
  const ticks = [
    ...x.ticks.map((tick) => xTick(x.at(tick), axes.costText(tick))),
    ...y.ticks.map((tick) => yTick(y.at(tick), `${(tick * 100).toFixed(1)} %`)),
  ];
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(axes.value)} against ${escapeHtml(axes.cost)}">
${ticks.join("\n")}
<polyline points="${line}" class="front"/>
${marks.join("\n")}
<text x="${(margin.left + width - margin.right) / 2}" y="${height - 8}" class="axis">${escapeHtml(axes.cost)}</text>
</svg>`;
}

/** Text that is safe between tags and in attributes. */
export function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
  };
  return text.replace(/[&<>"]/g, (character) => entities[character]!);
}

interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

const tickCount = 5;

function scaleOf(
  values: readonly number[],
  [from, to]: readonly [number, number],
  kind: "linear" | "auto" = "auto",
): Scale {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const isLog = kind === "auto" && least > 0 && most / least > 10;
  const bend = (value: number) => (isLog ? Math.log(value) : value);
  const unbend = (value: number) => (isLog ? Math.exp(value) : value);
  const spread = bend(most) - bend(least) || Math.abs(bend(most)) * 0.1 || 1;
  const [low, high] = [bend(least) - spread * 0.08, bend(most) + spread * 0.08];
  const at = (value: number) => round(from + ((bend(value) - low) / (high - low)) * (to - from));
  const ticks = Array.from({ length: tickCount }, (_, tick) =>
    unbend(low + ((high - low) * (tick + 0.5)) / tickCount),
  );
  return { at, ticks };
}

const round = (value: number) => Math.round(value * 10) / 10;

function mark(point: Point, x: number, y: number, isFront: boolean): string {
  const kind = point.isChosen ? "chosen" : isFront ? "best" : "beaten";
  const anchor = x > width * 0.7 ? "end" : "start";
  const shift = anchor === "end" ? -9 : 9;
  return `<circle cx="${x}" cy="${y}" r="${point.isChosen ? 7 : 5}" class="${kind}"/><text x="${x + shift}" y="${y + 4}" text-anchor="${anchor}">${escapeHtml(point.name)}</text>`;
}

const xTick = (x: number, text: string) =>
  `<line x1="${x}" y1="${margin.top}" x2="${x}" y2="${height - margin.bottom}" class="grid"/><text x="${x}" y="${height - margin.bottom + 18}" class="axis">${escapeHtml(text)}</text>`;

const yTick = (y: number, text: string) =>
  `<line x1="${margin.left}" y1="${y}" x2="${width - margin.right}" y2="${y}" class="grid"/><text x="${margin.left - 6}" y="${y + 4}" text-anchor="end">${escapeHtml(text)}</text>`;

/** A stage of a rollout as it is typed: `canary=per-class:1;manual;deadline=30m`. */
import { InvalidArgumentError } from "commander";
import { type StageOrder, stageSchema } from "../../shared/api/stages.ts";

export const stagesHelp = `name=selector;option;option…; may be repeated.
Selectors: per-class:1, count:10, percent:25, regions:a,b, classes:a,b, devices:a,b, all,
query:labels.site=a|b,region=eu-west,profile.cores>=4. Behind regions, classes or query, @10 takes ten
of the matching devices and @10% that share of them.
Options: manual (waits for promote), deadline=30m, soak=2h, concurrent=5 (per region), links=2 or
links=satellite:1|cellular:5 (per link), rate=60 (offers per minute), retries=3`;

/** What stands before `=` in an option, and what it means. */
const options: Readonly<Record<string, (value: string) => object>> = {
  deadline: (value) => ({ deadlineMs: durationMs(value) }),
  soak: (value) => ({ soakMs: durationMs(value) }),
  concurrent: (value) => ({ concurrentMax: Number(value) }),
  links: (value) => ({ concurrentPerLink: perLink(value) }),
  rate: (value) => ({ offersPerMinuteMax: Number(value) }),
  retries: (value) => ({ retryBudget: Number(value) }),
};
const unitsMs: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Errors: commander's for a wrong argument, with all that is allowed. */
export function parseStage(text: string): StageOrder {
  const [head = "", ...rest] = text.split(";");
  const [, name, by, value = ""] = /^([^=]+)=([a-z-]+)(?::(.*))?$/.exec(head) ?? [];
  const order = {
    name,
    select: selectorOf(by, value),
    ...Object.assign({}, ...rest.map(optionOf)),
  };
  if (!stageSchema.safeParse(order).success) throw new InvalidArgumentError(stagesHelp);
  return order;
}

function selectorOf(by: string | undefined, value: string): object {
  switch (by) {
    case "per-class":
    case "count":
      return { by, count: Number(value) };
    case "percent":
      return { by, percent: Number(value) };
    case "regions":
    case "classes": {
      const { list, limit } = limited(value);
      return { by, [by]: list, ...limit };
    }
    case "devices":
      return { by, devices: listOf(value) };
    case "query": {
      const { list, limit } = limited(value);
      return { by, where: list.map(conditionOf), ...limit };
    }
    default:
      return { by };
  }
}

function listOf(value: string): string[] {
  return value.split(",").filter((item) => item !== "");
}

/** `eu,us@10%`: the list and how much of it. */
function limited(value: string): { list: string[]; limit: object } {
  const [, text = value, amount, sign] = /^(.*)@([\d.]+)(%?)$/.exec(value) ?? [];
  if (amount === undefined) return { list: listOf(value), limit: {} };
  const limit = sign === "%" ? { percent: Number(amount) } : { count: Number(amount) };
  return { list: listOf(text), limit: { limit } };
}

/** `labels.site=a|b` or `profile.cores>=4`. */
function conditionOf(text: string): object {
  const [, field, sign, value = ""] = /^([^<>=]+)(>=|<=|=)(.*)$/.exec(text) ?? [];
  if (sign === ">=") return { field, min: Number(value) };
  if (sign === "<=") return { field, max: Number(value) };
  return { field, oneOf: value.split("|").map((item) => valueMeant(field ?? "", item)) };
}

/** Labels, region and class are text; of a profile a number or a truth value is meant as one. */
function valueMeant(field: string, text: string): string | number | boolean {
  if (!field.startsWith("profile.")) return text;
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function optionOf(text: string): object {
  if (text === "manual") return { gate: "manual" };
  const [, name = "", value = ""] = /^([a-z]+)=(.+)$/.exec(text) ?? [];
  const option = Object.hasOwn(options, name) ? options[name] : undefined;
  if (option === undefined) throw new InvalidArgumentError(stagesHelp);
  return option(value);
}

/** `2` on each link, or `satellite:1|cellular:5` on those. */
function perLink(text: string): number | Record<string, number> {
  if (!text.includes(":")) return Number(text);
  const limits = text.split("|").map((item) => {
    const [, link = "", count = ""] = /^([^:]+):(\d+)$/.exec(item) ?? [];
    return [link, Number(count)] as const;
  });
  return Object.fromEntries(limits);
}

/** `90s`, `30m`, `2h`, `1d`; a bare number is no duration. */
function durationMs(text: string): number {
  const [, amount = "", unit = ""] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
  return Math.round(Number(amount || Number.NaN) * (unitsMs[unit] ?? Number.NaN));
}

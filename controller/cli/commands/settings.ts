/** What operators write as YAML: recipes and device classes. */
import { readFileSync } from "node:fs";
import { FleetError } from "../../../shared/errors.ts";
import { action, type CommandGroup, clientOf, query } from "../command.ts";
import { facts, show, table } from "../output.ts";

export const settingsCommands: CommandGroup = {
  add(program, io) {
    addRecipes(program, io);
    addClasses(program, io);
  },
};

function addRecipes(...[program, io]: Parameters<CommandGroup["add"]>): void {
  const recipe = program.command("recipe").description("recipes: ordered passes over a model");
  query(recipe, "list", "all recipes", ["recipe list", "recipe list --json"]).action(
    async (options) => {
      const answer = await clientOf(io, options).call("listRecipes");
      show(io, options, answer, ({ recipes }) =>
        table(
          ["recipe", "what it does", "not for", "samples"],
          recipes.map(({ name, summary, notFor, needsCalibration }) => [
            name,
            summary,
            notFor,
            needsCalibration ? "needed" : "",
          ]),
          "There is no recipe.",
        ),
      );
    },
  );
  query(recipe, "show <recipe>", "the passes of a recipe and their options", [
    "recipe show int8-static",
    "recipe show int8-static --json",
  ]).action(async (name: string, options) => {
    const answer = await clientOf(io, options).call("getRecipe", { params: { recipe: name } });
    show(io, options, answer, ({ summary, passes }) =>
      [
        summary,
        table(
          ["pass", "what it does", "options"],
          passes.map((pass) => [
            pass.pass,
            pass.summary,
            Object.keys(pass.options).length === 0 ? "" : JSON.stringify(pass.options),
          ]),
          "It has no pass.",
        ),
      ].join("\n\n"),
    );
  });
}

function addClasses(...[program, io]: Parameters<CommandGroup["add"]>): void {
  const group = program
    .command("class")
    .description("device classes: which devices, which budget, which recipes");
  query(group, "list", "all classes, in the order in which they are tried", [
    "class list",
    "class list --json",
  ]).action(async (options) => {
    const answer = await clientOf(io, options).call("listClasses");
    show(io, options, answer, ({ classes }) =>
      table(
        ["class", "summary", "rule", "budget", "recipes", "objective", "devices"],
        classes.map((each) => [
          each.name,
          each.summary,
          describeFields(each.match),
          describeFields(each.budget),
          each.recipes.join("\n"),
          each.objective,
          each.devices,
        ]),
        "There is no class.",
      ),
    );
  });
  query(group, "show <class>", "one class", [
    "class show gateway",
    "class show gateway --json",
  ]).action(async (name: string, options) => {
    const answer = await clientOf(io, options).call("getClass", { params: { class: name } });
    show(io, options, answer, (each) =>
      facts([
        ["class", each.name],
        ["summary", each.summary],
        ["rule", describeFields(each.match).replaceAll("\n", "; ")],
        ["budget", describeFields(each.budget).replaceAll("\n", "; ")],
        ["recipes", each.recipes.join(", ")],
        ["objective", each.objective],
        ["devices", each.devices],
      ]),
    );
  });
  action(group, "check", "which class each device lands in, and why not in the others", [
    "class check",
    "class check --file classes.yaml",
    "class check --json",
  ])
    .option("--file <classes.yaml>", "check this edited file instead of the one in use")
    .action(async (options) => {
      const body = options.file === undefined ? {} : { yaml: readText(options.file) };
      const answer = await clientOf(io, options).call("checkClasses", { body });
      show(io, options, answer, ({ devices }) =>
        table(
          ["device", "lands in", "not in", "because"],
          devices.flatMap(({ device, deviceClass, classes }) => {
            const others = classes.filter(({ matches }) => !matches);
            if (others.length === 0) return [[device, deviceClass ?? "no class", "", ""]];
            return others.map(({ deviceClass: other, reasons }, at) => [
              at === 0 ? device : "",
              at === 0 ? (deviceClass ?? "no class") : "",
              other,
              reasons.join("; "),
            ]);
          }),
          "The file is valid; no device has enrolled yet.",
        ),
      );
    });
}

function describeFields(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join("\n");
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new FleetError("file-unusable", `${path} cannot be read`, { cause });
  }
}

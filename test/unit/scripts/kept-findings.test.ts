/** A cut-off run of the compression benchmark goes on with the models that it had not done. */
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { joined, keptFindings, nothingFound } from "../../../scripts/bench/compress/findings.ts";

const found = (model: string) => ({ ...nothingFound, mismatches: [model] });

function programs(): { root: string; folder: string } {
  const root = mkdtempSync(path.join(tmpdir(), "kept-findings-"));
  for (const room of ["controller", "shared", "scripts/bench"]) {
    mkdirSync(path.join(root, room), { recursive: true });
  }
  writeFileSync(path.join(root, "shared", "a.ts"), "one");
  writeFileSync(path.join(root, "package-lock.json"), "{}");
  return { root, folder: path.join(root, ".cache") };
}

it("finds once what it had found before it was cut off, and anew once all was told", async () => {
  const { root, folder } = programs();
  await keptFindings(folder, root).once("a", async () => found("first"));
  const second = keptFindings(folder, root);
  const parts = [
    await second.once("a", () => Promise.reject(new Error("found again"))),
    await second.once("b", async () => found("second")),
  ];
  expect(joined(parts).mismatches).toEqual(["first", "second"]);
  second.forget();
  expect(readdirSync(folder)).toEqual([]);
});

it("takes nothing from other programs, nor what was not found to its end", async () => {
  const { root, folder } = programs();
  await keptFindings(folder, root).once("a", async () => found("old"));
  writeFileSync(path.join(root, "shared", "a.ts"), "two");
  const changed = keptFindings(folder, root);
  const broken = changed.once("a", () => Promise.reject(new Error("cut off")));
  await expect(broken).rejects.toThrow("cut off");
  expect(await changed.once("a", async () => found("new"))).toEqual(found("new"));
});

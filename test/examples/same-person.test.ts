import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { temporaryFolder, writeTinyDataset } from "../support/tiny.js";

const root = join(import.meta.dirname, "../..");

test("two pictures are compared; a picture is most like itself", async () => {
  const folder = temporaryFolder();
  await writeTinyDataset(folder);
  const [a, b] = readdirSync(join(folder, "query")).map((name) => join(folder, "query", name));
  const similarity = (...pictures: string[]) => {
    const command = ["--import", "tsx", join(root, "examples/same-person.ts"), ...pictures];
    const said = execFileSync(process.execPath, command, {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return Number(/cosine similarity (-?[\d.]+)/.exec(said)?.[1]);
  };
  assert.is(similarity(a, a), 1);
  assert.ok(similarity(a, b) < 1);
});

test.run();

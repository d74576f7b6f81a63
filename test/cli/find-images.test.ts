import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { findImages } from "#src/cli/find-images.js";
import { oddFiles, put, userError, withFolder } from "../data/helpers.js";

test("files as they are, folders with those below them, sorted", () =>
  withFolder(async (root) => {
    for (const file of ["b/2.jpg", "b/a/1.PNG", "0.webp", "notes.txt", ...oddFiles("b")]) await put(join(root, file));
    const all = ["0.webp", "b/2.jpg", "b/a/1.PNG"].map((file) => join(root, file));
    assert.equal(await findImages([root]), all);
    assert.equal(await findImages([all[2], join(root, "b")]), [all[2], all[1], all[2]]);
    assert.match((await userError(() => findImages([join(root, "none")]))).message, "There is no file or folder");
  }));

test("a folder that links lead back to is searched once; a link that leads nowhere is left to the decoder", () =>
  withFolder(async (root) => {
    await put(join(root, "pictures", "1.jpg"));
    await put(join(root, "pictures", "more", "2.jpg"));
    await symlink(".", join(root, "pictures", "self"));
    await symlink("..", join(root, "pictures", "more", "up"));
    await symlink(join(root, "pictures"), join(root, "again"));
    await symlink("nowhere", join(root, "pictures", "gone.jpg"));
    await symlink("loop", join(root, "pictures", "loop"));
    const found = ["1.jpg", "gone.jpg", "more/2.jpg"];
    for (const place of ["pictures", "again"])
      assert.equal(
        await findImages([join(root, place)]),
        found.map((file) => join(root, place, file)),
      );
    assert.equal(
      await findImages([root]),
      found.map((file) => join(root, "pictures", file)),
    );
  }));

test.run();

/** The fixtures with maps in float16, within the bounds that verify states for it. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors } from "#src/formats/safetensors.js";
import { Device } from "#src/gpu/device.js";
import { HALF_BOUNDS, MODEL_BOUNDS, verifyModel } from "#src/training/verify-model.js";

const folder = join(import.meta.dirname, "../fixtures");
const device = await Device.open({ robust: true });

for (const name of readdirSync(folder).filter((file) => file.endsWith(".safetensors"))) {
  const file = await readSafetensors(join(folder, name));
  if (file.metadata.kind !== "mpn") continue;
  test(name, async () => {
    const errors = await verifyModel(device, file, name, "float16");
    assert.ok(errors.features > MODEL_BOUNDS.features / 10, "float16 was not used");
    assert.ok("update" in errors && "gradients" in errors);
    for (const [group, error] of Object.entries(errors)) {
      assert.ok(error <= HALF_BOUNDS[group], `${group} is off by ${error}, more than ${HALF_BOUNDS[group]}`);
    }
  });
}

test.after(() => device.close());
test.run();

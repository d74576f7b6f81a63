// Compiles the kernels whose specs stand on stdin, as a JSON array, one after the other. Before each, a line "@@ kernel <index>" goes to
// stderr, where the driver prints its machine code; after one that failed, "@@ failed <message>".
import { readFileSync, writeSync } from "node:fs";
import { Device } from "#src/gpu/device.js";

const specs = JSON.parse(readFileSync(0, "utf8"));
const say = (text) => writeSync(2, `\n@@ ${text}\n`);
const device = await Device.open({ matrixUnits: true });
const { name, description, software } = device.profile;
if (software) throw new Error(`the adapter is ${name}, which is no GPU`);
say(`adapter ${name} ${description}`);
for (const [i, spec] of specs.entries()) {
  say(`kernel ${i}`);
  try {
    await device.kernels.get(spec);
    device.check("compiling");
  } catch (error) {
    say(`failed ${error.message.replaceAll("\n", " ")}`);
  }
}
say("end");
// Nothing runs on the device, so that nobody may wait for it either.
process.exit(0);

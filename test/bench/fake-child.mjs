/** A child of the comparison that computes nothing: `fake-child.mjs <name> <log> <behaviour>`; its runs are lines of the log. */
import { appendFileSync, readFileSync } from "node:fs";
import { readTensors, serve } from "../../bench/peers/child.mjs";

const [name, log, behaviour] = process.argv.slice(2);
const note = (what) => appendFileSync(log, `${name} ${what} ${process.env.XDG_CACHE_HOME}\n`);
let runs = 0;
let tensors;
await serve({
  async prepare({ mode, inputs }) {
    if (behaviour === "refuses") throw new Error("no such adapter");
    if (behaviour === "dies") {
      console.error("Error: the driver crashed\n    at nowhere");
      process.exit(3);
    }
    const { MPN_TUNED: tuned, XDG_CACHE_HOME: cache } = process.env;
    if (!tuned || tuned.startsWith(cache)) throw new Error("what was tuned is looked for where nothing is");
    // It starts twice.
    if (behaviour === "tires" && readFileSync(log, "utf8").split(`${name} prepares`).length > 2) process.exit(3);
    tensors = inputs && readTensors(inputs);
    note(`prepares ${mode}`);
    return { version: "1.2.3", flops: 4e6 };
  },
  async run() {
    console.log('{"this line":"is no reply"}');
    runs++;
    note(`run ${runs}`);
    if (behaviour === "hangs" && runs === 2) await new Promise((resolve) => setTimeout(resolve, 60_000));
    if (behaviour === "slow") await new Promise((resolve) => setTimeout(resolve, 40));
  },
  result: () =>
    behaviour === "trains"
      ? { losses: Array.from({ length: runs }, (_, i) => 1 / (i + 1)) }
      : { features: tensors?.get("images").data ?? Float32Array.of(1, -2, behaviour === "off" ? 4.004 : 4) },
  memory: () => ({ gpuBytes: 123 }),
});

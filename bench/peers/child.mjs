/**
 * The child's side of the protocol of bench/peer.ts: a line of JSON on stdin for each request, a line on descriptor 3
 * for each reply, so that whatever a library prints disturbs nothing. Node's builtins alone, so that no system waits for a
 * compiler of TypeScript.
 */
import { readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";

const bytesOf = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

/**
 * Answers until stdin ends.
 * @param system `prepare(job)` loads and may compile, and resolves to facts about itself; `run()` is what is timed: all work of one
 * inference or one step, and its result read back; `result()` is `{ features }` or `{ losses }`; `memory()`, where there is
 * one, gives what the system itself knows
 */
export async function serve(system) {
  const answers = {
    prepare: (job) => system.prepare(job),
    run: async () => {
      const started = performance.now();
      await system.run();
      return { ms: performance.now() - started };
    },
    result: async () => {
      const { features, losses } = await system.result();
      return features ? { features: bytesOf(features).toString("base64") } : { losses };
    },
    memory: () => system.memory?.() ?? {},
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const { request, job } = JSON.parse(line);
    let reply;
    try {
      reply = (await answers[request](job)) ?? {};
    } catch (error) {
      console.error(error);
      reply = { error: String(error?.message ?? error) };
    }
    writeSync(3, `${JSON.stringify(reply)}\n`);
  }
  process.exit(0);
}

/** The tensors of a safetensors file of floats and of signed integers: name -> { shape, data }. */
export function readTensors(path) {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__, ...entries } = JSON.parse(file.toString("utf8", 8, start));
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(entries)) {
    // A copy, as views of floats must be aligned.
    const { buffer } = new Uint8Array(file.subarray(start + data_offsets[0], start + data_offsets[1]));
    tensors.set(name, { shape, data: dtype === "I32" ? new Int32Array(buffer) : new Float32Array(buffer) });
  }
  return tensors;
}

/** Images [N, C, H, W] as [N, H, W, C]. */
export function channelsLast({ shape: [n, channels, height, width], data }) {
  const plane = height * width;
  const out = new Float32Array(data.length);
  for (let i = 0; i < n; i++)
    for (let c = 0; c < channels; c++)
      for (let p = 0; p < plane; p++) out[(i * plane + p) * channels + c] = data[(i * channels + c) * plane + p];
  return out;
}

/**
 * ONNX Runtime with the model that `mpn convert` writes. `node ort.mjs cpu|webgpu|web`: onnxruntime-node on the CPU or with its
 * built-in WebGPU provider (a Dawn of its own), or onnxruntime-web on the Dawn that this engine uses.
 */
import { readFileSync } from "node:fs";
import { readTensors, serve } from "./child.mjs";

const [provider] = process.argv.slice(2);
process.env.ORT_DISABLE_TELEMETRY = "1"; // It is on by default.
const { adapterName = "" } = provider === "web" ? await import("./dawn.mjs") : {};
const { default: ort } = await import(provider === "web" ? "onnxruntime-web/webgpu" : "onnxruntime-node");
if (provider === "web") ort.env.wasm.numThreads = 1;

let session;
let images;
let features;
await serve({
  async prepare({ model, inputs, threads }) {
    const { shape, data } = readTensors(inputs).get("images");
    images = new ort.Tensor("float32", data, shape);
    session = await ort.InferenceSession.create(provider === "web" ? readFileSync(model) : model, {
      executionProviders: [provider === "web" ? "webgpu" : provider],
      graphOptimizationLevel: "all",
      freeDimensionOverrides: { N: shape[0] },
      ...(provider === "cpu" && { intraOpNumThreads: threads }),
    });
    return { adapter: adapterName };
  },
  async run() {
    const outputs = await session.run({ [session.inputNames[0]]: images });
    features = await outputs[session.outputNames[0]].getData();
  },
  result: () => ({ features }),
});

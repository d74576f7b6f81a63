/** How alike two pictures of people are: `npx tsx examples/same-person.ts a.jpg b.jpg [checkpoint]`. */
import { Device, decodeImage, Extractor, modelConfigOf, openCheckpoint, ParameterStore } from "mpn-webgpu";

const [first, second, weights = "weights/small.safetensors"] = process.argv.slice(2);
const device = await Device.open();
const checkpoint = await openCheckpoint(weights);
const config = modelConfigOf(checkpoint.config, checkpoint.pids.length);
const store = new ParameterStore();
Extractor.declare(store, config);
store.allocate(device, null);
await checkpoint.restore(device, store).finally(checkpoint.close);

const extractor = await Extractor.create(device, store, config, { flip: true, batch: 2 });
const features = await extractor.ofImages([await decodeImage(first), await decodeImage(second)]);
const [a, b] = [features.subarray(0, extractor.dim), features.subarray(extractor.dim)];
const dot = (p: Float32Array, q: Float32Array) => p.reduce((sum, v, i) => sum + v * q[i], 0);
console.log(`cosine similarity ${(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))).toFixed(3)} on ${device.profile.name}`);
device.close();

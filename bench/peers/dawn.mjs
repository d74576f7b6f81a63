/** Dawn where libraries made for browsers look for it: as `navigator.gpu`. Import this before them. */

// With nothing else in its loop, Node would wait for V8's background compilation of ONNX Runtime's wasm.
setInterval(() => {}, 1000);

const { create, globals } = await import("webgpu");
Object.assign(globalThis, globals);
globalThis.navigator ??= {};
// Collected while a device lives, it takes the process with it.
const gpu = create([]);
Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
navigator.userAgent ??= "Node";

// The heap of ONNX Runtime's wasm is shared memory, which Dawn's writeBuffer does not take.
const { writeBuffer } = GPUQueue.prototype;
GPUQueue.prototype.writeBuffer = function (buffer, offset, source, start = 0, size) {
  const memory = source.buffer ?? source;
  if (!(memory instanceof SharedArrayBuffer)) return writeBuffer.call(this, buffer, offset, source, start, size);
  // `start` and `size` count elements of a typed array, bytes of a buffer.
  const unit = source.BYTES_PER_ELEMENT ?? 1;
  const from = (source.byteOffset ?? 0) + start * unit;
  const bytes = size === undefined ? source.byteLength - start * unit : size * unit;
  return writeBuffer.call(this, buffer, offset, new Uint8Array(memory, from, bytes).slice());
};

const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error("Dawn finds no adapter");
// While a promise of the GPU is pending, Dawn's binding polls by setImmediate: a busy loop on a core that a software adapter needs.
if (/llvmpipe|swiftshader/i.test(`${adapter.info.device} ${adapter.info.description}`))
  globalThis.setImmediate = (callback, ...args) => setTimeout(callback, 1, ...args);
export const adapterName = adapter.info.device || adapter.info.description;

/**
 * The engine alone (`mpn-webgpu/engine`): device, symbolic graph, ops, layers. Nothing here knows re-identification, and
 * nothing needs Node: in a browser it runs on `navigator.gpu`, elsewhere on Dawn, which is loaded when a device is opened.
 */
export { UserError } from "./errors.js";
export { Device, type DeviceProfile, type OpenOptions } from "./gpu/device.js";
export type { KernelSpec } from "./gpu/kernel.js";
export { grid, type Launch, Lowering } from "./graph/lowering.js";
export { fuse } from "./graph/passes.js";
export type { Profile, ProfileRow } from "./graph/profile.js";
export { type CompileOptions, type MemoryReport, Program, type Values } from "./graph/program.js";
export {
  apply,
  Block,
  constant,
  type DType,
  input,
  type Node,
  type Op,
  type Shape,
  ShapeError,
  scope,
  Tensor,
  type TensorSpec,
  variable,
} from "./graph/tensor.js";
export { constantValues, heFanOut, type Initializer, normal, uniformFanIn } from "./nn/init.js";
export { type BatchNormActivation, Build, type PartsInit } from "./nn/layers.js";
export { type Declaration, type NamedArray, ParameterStore } from "./nn/parameters.js";
export { type ResNetConfig, resnet } from "./nn/resnet.js";
export * from "./ops/index.js";

/**
 * Collects the nodes of an ONNX graph. The engine's maps are [N, H, W, C], those of ONNX [N, C, H, W]; a value is held in
 * either layout or both, and changed only where a node asks for the other one.
 */
import type { OnnxAttribute, OnnxNode, OnnxTensor } from "../formats/onnx.js";
import type { Shape, Tensor } from "../graph/tensor.js";
import { Constants, type Numbers } from "./constants.js";

/** "rows": the engine's own order, for any shape; "map": [N, C, H, W] of a tensor [N, H, W, C]. */
export type Layout = "rows" | "map";

const TO_MAP = [0, 3, 1, 2];
const TO_ROWS = [0, 2, 3, 1];

/** Whether both layouts of a map have the same order of elements. */
const sameOrder = ({ shape }: Tensor) => shape.length === 4 && (shape[3] === 1 || shape[1] * shape[2] === 1);

/** Where an axis of a tensor lies in a layout. */
export const axisIn = (layout: Layout, axis: number) => (layout === "map" ? TO_ROWS[axis] : axis);

export class Emitter {
  readonly nodes: OnnxNode[] = [];
  readonly tensors: OnnxTensor[] = [];
  private readonly constants: Constants;
  private readonly held = new Map<Tensor, Partial<Record<Layout, string>>>();
  private readonly reshaped = new Map<Tensor, Tensor>();
  private readonly names = new Set<string>();
  private readonly lists = new Map<string, string>();

  /**
   * @param weights values of the variables, in engine layout
   * @param batch what the first axis of everything that depends on images is a multiple of
   * @param varies whether the exported graph takes batches of other sizes as well
   * @param taken names that nodes must not have
   */
  constructor(
    weights: ReadonlyMap<Tensor, Float32Array>,
    private readonly batch: number,
    private readonly varies: boolean,
    taken: readonly string[],
  ) {
    this.constants = new Constants(weights);
    for (const name of taken) this.names.add(name);
  }

  /** Says that `name` holds the values of a tensor, which depend on the images. */
  define(t: Tensor, layout: Layout, name: string): void {
    this.checkBatch(t);
    this.hold(t, layout, name);
  }

  /** Says that a tensor has the elements of `source`, in the order of its rows; a node is made where it is needed. */
  defineReshaped(t: Tensor, source: Tensor): void {
    this.checkBatch(t);
    this.reshaped.set(t, source);
  }

  private hold(t: Tensor, layout: Layout, name: string): void {
    this.held.set(t, { ...this.held.get(t), [layout]: name });
  }

  /** Adds a node with one output, or `count`. @returns their names */
  emit(
    op: string,
    name: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
    count = 1,
  ): string[] {
    const outputs = Array.from({ length: count }, (_, i) => this.unique(count === 1 ? name : `${name}.${i}`));
    this.nodes.push({ op, name: outputs[0], inputs, outputs, attributes });
    return outputs;
  }

  /** A float32 constant. @returns its name */
  tensor(name: string, shape: Shape, values: Numbers): string {
    const unique = this.unique(name);
    this.tensors.push({ name: unique, shape, data: Float32Array.from(values) });
    return unique;
  }

  /** A list of whole numbers: a shape, axes, positions. @returns its name */
  list(values: readonly (number | bigint)[]): string {
    const key = values.join("_");
    let name = this.lists.get(key);
    if (name === undefined) {
      name = this.unique(`list_${key}`);
      this.tensors.push({ name, shape: [values.length], data: BigInt64Array.from(values, BigInt) });
      this.lists.set(key, name);
    }
    return name;
  }

  /** The values of a tensor that depends on weights alone. Throws where it does not. */
  constant(t: Tensor): Numbers {
    const values = this.constants.of(t);
    if (!values) throw new Error(`${t}: the export takes what depends on weights alone here`);
    return values;
  }

  isConstant(t: Tensor): boolean {
    return this.constants.of(t) !== null;
  }

  /** The layout in which these tensors, of one rank, are met with the least effort. */
  layoutOf(...tensors: readonly Tensor[]): Layout {
    const maps = tensors.every((t) => t.shape.length === 4) && tensors.some((t) => this.held.get(t)?.map !== undefined);
    return maps ? "map" : "rows";
  }

  /** The name of a tensor's values in this layout. */
  in(layout: Layout, t: Tensor): string {
    const known = this.held.get(t)?.[layout];
    if (known !== undefined) return known;
    const name = layout === "map" ? this.toMap(t) : this.toRows(t);
    this.hold(t, layout, name);
    return name;
  }

  private toRows(t: Tensor): string {
    if (this.isConstant(t)) return this.tensor(t.name, t.shape, this.constant(t));
    if (this.reshaped.has(t) || sameOrder(t)) return this.reshape(t, t.shape);
    return this.emit("Transpose", `${t.name}.rows`, [this.known(t).map!], { perm: TO_ROWS })[0];
  }

  private toMap(t: Tensor): string {
    const shape = TO_MAP.map((axis) => t.shape[axis]);
    if (this.isConstant(t)) {
      const [, channels, height, width] = shape;
      const [values, pixels] = [this.constant(t), height * width];
      const moved = Float64Array.from(values, (_, i) => {
        const [image, channel] = [Math.floor(i / (channels * pixels)), Math.floor(i / pixels) % channels];
        return values[(image * pixels + (i % pixels)) * channels + channel];
      });
      return this.tensor(t.name, shape, moved);
    }
    if (sameOrder(t)) return this.reshape(t, shape);
    return this.emit("Transpose", `${t.name}.map`, [this.in("rows", t)], { perm: TO_MAP })[0];
  }

  private reshape(t: Tensor, shape: Shape): string {
    const sizes = this.varies ? [-1, ...shape.slice(1)] : shape;
    return this.emit("Reshape", `${t.name}.reshaped`, [this.flat(t), this.list(sizes)])[0];
  }

  /** The values of a tensor in the order of its rows, in whatever shape. */
  private flat(t: Tensor): string {
    const source = this.reshaped.get(t);
    if (source) return this.flat(source);
    const { rows, map } = this.known(t);
    return rows ?? (sameOrder(t) ? map! : this.in("rows", t));
  }

  /** At least one layout. Throws where no node has made the tensor, such as the positions of maxima. */
  private known(t: Tensor): Partial<Record<Layout, string>> {
    const held = this.held.get(t);
    if (!held) throw new Error(`${t} has no values in ONNX`);
    return held;
  }

  /** Throws where the first axis of a tensor is not that of images, or of equal parts of them. */
  private checkBatch(t: Tensor): void {
    if (t.shape[0] % this.batch !== 0) {
      throw new Error(`${t}: the first axis of what depends on a batch of ${this.batch} images must be that of images`);
    }
  }

  private unique(name: string): string {
    let unique = name;
    for (let i = 2; this.names.has(unique); i++) unique = `${name}_${i}`;
    this.names.add(unique);
    return unique;
  }
}

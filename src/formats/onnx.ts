/**
 * ONNX files: the part of onnx.proto that an inference graph needs, written as protocol buffers. A message is a list of
 * fields; a field is a varint that holds its number and kind, and then a varint, four bytes, or bytes after their length.
 */
import { UserError } from "../errors.js";
import { writeAside } from "./write-aside.js";

/** The version of the operators that `OnnxNode.op` means, and of the file format (2022, read by every current runtime). */
export const OPSET = 17;
const IR_VERSION = 8;

/** One number is an int; a list is of ints. Floats are marked, as 1 may be either. */
export type OnnxAttribute = number | readonly number[] | { readonly float: number };

export interface OnnxNode {
  readonly op: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** A constant: float32, or int64 for what operators take as shapes, axes and positions. */
export interface OnnxTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** A float32 input or output of the graph. */
export interface OnnxValue {
  readonly name: string;
  /** Sizes; a string names one that may vary. */
  readonly shape: readonly (number | string)[];
  readonly description: string;
}

export interface OnnxModel {
  readonly name: string;
  readonly description: string;
  readonly producer: { readonly name: string; readonly version: string };
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  /** In an order in which they can run. */
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxTensor[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** What protocol buffers, and therefore every runtime, accept as one file. */
const MOST_BYTES = 2 ** 31 - 1;

/**
 * Writes a model, aside and renamed.
 * @returns its size in bytes
 * @throws UserError when it is larger than an ONNX file can be, or cannot be written; a file at `path` stays as it was
 */
export async function writeOnnx(path: string, model: OnnxModel): Promise<number> {
  const { pieces, length: bytes } = encodeOnnx(model);
  if (bytes > MOST_BYTES) {
    throw new UserError(
      `Cannot write ${path}: the model takes ${(bytes / 1e9).toFixed(2)} GB, and an ONNX file holds at most 2 GiB. ` +
        "Nothing was written.",
    );
  }
  await writeAside(path, pieces);
  return bytes;
}

/** The file in pieces, so that weights need not be copied. Field numbers are those of onnx.proto. */
export function encodeOnnx(model: OnnxModel): { pieces: readonly Uint8Array[]; length: number } {
  const file = new Message()
    .int(1, IR_VERSION)
    .text(2, model.producer.name)
    .text(3, model.producer.version)
    .text(6, model.description)
    .message(7, graph(model))
    .message(8, new Message().text(1, "").int(2, OPSET));
  for (const [key, value] of Object.entries(model.metadata)) {
    file.message(14, new Message().text(1, key).text(2, value));
  }
  return file;
}

function graph({ name, inputs, outputs, nodes, constants }: OnnxModel): Message {
  const message = new Message();
  for (const n of nodes) message.message(1, node(n));
  message.text(2, name);
  for (const c of constants) message.message(5, tensor(c));
  for (const v of inputs) message.message(11, value(v));
  for (const v of outputs) message.message(12, value(v));
  return message;
}

function node({ op, name, inputs, outputs, attributes }: OnnxNode): Message {
  const message = new Message();
  for (const i of inputs) message.text(1, i);
  for (const o of outputs) message.text(2, o);
  message.text(3, name).text(4, op);
  for (const [key, value] of Object.entries(attributes)) message.message(5, attribute(key, value));
  return message;
}

function attribute(name: string, value: OnnxAttribute): Message {
  const message = new Message().text(1, name);
  const kind = (number: number) => message.int(20, number);
  if (typeof value === "number") return kind(2).int(3, value);
  if ("float" in value) return kind(1).float(2, value.float);
  for (const v of value) message.int(8, v);
  return kind(7);
}

const FLOAT = 1;
const INT64 = 7;

function tensor({ name, shape, data }: OnnxTensor): Message {
  const message = new Message();
  for (const size of shape) message.int(1, size);
  return message
    .int(2, data instanceof Float32Array ? FLOAT : INT64)
    .text(8, name)
    .bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function value({ name, shape, description }: OnnxValue): Message {
  const sizes = new Message();
  for (const size of shape) {
    const dimension = new Message();
    sizes.message(1, typeof size === "number" ? dimension.int(1, size) : dimension.text(2, size));
  }
  const type = new Message().message(1, new Message().int(1, FLOAT).message(2, sizes));
  return new Message().text(1, name).message(2, type).text(3, description);
}

/** Bytes up to which pieces are joined: each one is a call to the system. */
const SHORT = 4096;

class Message {
  readonly pieces: Uint8Array[] = [];
  length = 0;

  int(field: number, value: number): this {
    return this.key(field, 0).put(varint(value));
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.key(field, 5).put(bytes);
  }

  bytes(field: number, value: Uint8Array): this {
    return this.key(field, 2).put(varint(value.length)).put(value);
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, { pieces, length }: Message): this {
    this.key(field, 2).put(varint(length));
    for (const piece of pieces) this.put(piece);
    return this;
  }

  private key(field: number, kind: 0 | 2 | 5): this {
    return this.put(varint(field * 8 + kind));
  }

  private put(piece: Uint8Array): this {
    const last = this.pieces.at(-1);
    if (last && last.length + piece.length <= SHORT) this.pieces[this.pieces.length - 1] = Buffer.concat([last, piece]);
    else this.pieces.push(piece);
    this.length += piece.length;
    return this;
  }
}

/** Seven bits a byte, the lowest first; a negative number as the 64 bits of its two's complement. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

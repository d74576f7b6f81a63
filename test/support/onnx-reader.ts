/** Reads ONNX files: a decoder of protocol buffers, and the fields of onnx.proto that the exporter writes. */

/** Fields by number, each with all of its values: numbers, or bytes. */
type Fields = Map<number, (bigint | Uint8Array)[]>;

export interface ReadNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, number | number[]>>;
}

export interface ReadTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

export interface ReadValue {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

export interface ReadModel {
  readonly irVersion: number;
  readonly opset: number;
  readonly inputs: readonly ReadValue[];
  readonly outputs: readonly ReadValue[];
  readonly nodes: readonly ReadNode[];
  readonly tensors: ReadonlyMap<string, ReadTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

function decode(bytes: Uint8Array): Fields {
  const fields: Fields = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw new Error(`no varint at byte ${at}`);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const take = (length: number) => {
    if (at + length > bytes.length) throw new Error(`${length} bytes at ${at} leave a message of ${bytes.length}`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const kind = key & 7;
    if (![0, 2, 5].includes(kind)) throw new Error(`kind ${kind} at byte ${at}`);
    const value = kind === 0 ? BigInt.asIntN(64, varint()) : take(kind === 5 ? 4 : Number(varint()));
    const field = key >> 3;
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
}

const all = (fields: Fields, field: number) => fields.get(field) ?? [];
const messages = (fields: Fields, field: number) => all(fields, field).map((bytes) => decode(bytes as Uint8Array));
const message = (fields: Fields, field: number) => messages(fields, field)[0];
const texts = (fields: Fields, field: number) =>
  all(fields, field).map((b) => new TextDecoder().decode(b as Uint8Array));
const text = (fields: Fields, field: number) => texts(fields, field)[0];
const ints = (fields: Fields, field: number) => all(fields, field).map(Number);
const int = (fields: Fields, field: number) => ints(fields, field)[0];

export function readOnnx(file: Uint8Array): ReadModel {
  const model = decode(file);
  const graph = message(model, 7);
  return {
    irVersion: int(model, 1),
    opset: int(message(model, 8), 2),
    inputs: messages(graph, 11).map(value),
    outputs: messages(graph, 12).map(value),
    nodes: messages(graph, 1).map(node),
    tensors: new Map(messages(graph, 5).map((fields) => [text(fields, 8), tensor(fields)])),
    metadata: Object.fromEntries(messages(model, 14).map((entry) => [text(entry, 1), text(entry, 2)])),
  };
}

function value(fields: Fields): ReadValue {
  const type = message(message(fields, 2), 1);
  if (int(type, 1) !== 1) throw new Error("expected float32");
  return { name: text(fields, 1), shape: messages(message(type, 2), 1).map((d) => text(d, 2) ?? int(d, 1)) };
}

function node(fields: Fields): ReadNode {
  const attributes = messages(fields, 5).map((a) => [text(a, 1), attribute(a)]);
  return {
    op: text(fields, 4),
    inputs: texts(fields, 1),
    outputs: texts(fields, 2),
    attributes: Object.fromEntries(attributes),
  };
}

function attribute(fields: Fields): number | number[] {
  switch (int(fields, 20)) {
    case 1: {
      const bytes = all(fields, 2)[0] as Uint8Array;
      return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
    }
    case 2:
      return int(fields, 3);
    case 7:
      return ints(fields, 8);
    default:
      throw new Error(`attribute ${text(fields, 1)} is of kind ${int(fields, 20)}`);
  }
}

function tensor(fields: Fields): ReadTensor {
  const raw = Uint8Array.from(all(fields, 9)[0] as Uint8Array).buffer; // aligned
  return { shape: ints(fields, 1), data: int(fields, 2) === 1 ? new Float32Array(raw) : new BigInt64Array(raw) };
}

/** Writes MATLAB files of version 5 element by element, to be read by src/formats/mat5.ts. */
import { deflateSync } from "node:zlib";

/** Types of elements and classes of arrays, as the format numbers them. */
const [INT8, UINT8, UINT16, INT32, UINT32, DOUBLE, MATRIX, COMPRESSED] = [1, 2, 4, 5, 6, 9, 14, 15];
const [CELL, CHAR, CLASS_DOUBLE, CLASS_UINT8, CLASS_UINT16] = [1, 4, 6, 9, 11];

export type MatInput = string | string[] | Uint8Array | Uint16Array | Float64Array;

export interface Mat5Options {
  little?: boolean;
  compressed?: boolean;
}

/** Strings become rows of text, lists of strings columns of cells, typed arrays columns of numbers. */
export function writeMat5(
  variables: Record<string, MatInput>,
  { little = true, compressed = true }: Mat5Options = {},
): Buffer {
  const word = (value: number) => {
    const bytes = Buffer.alloc(4);
    if (little) bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    return bytes;
  };
  const element = (type: number, data: Buffer): Buffer => {
    // Up to four bytes go into the tag.
    if (data.length > 0 && data.length <= 4)
      return Buffer.concat([word((data.length << 16) | type), data, Buffer.alloc(4 - data.length)]);
    return Buffer.concat([word(type), word(data.length), data, Buffer.alloc((8 - (data.length % 8)) % 8)]);
  };
  const numbers = (values: Uint8Array | Uint16Array | Float64Array): Buffer => {
    const size = values.BYTES_PER_ELEMENT;
    const bytes = Buffer.alloc(values.byteLength);
    values.forEach((value, i) => {
      if (size === 1) bytes.writeUInt8(value, i);
      else if (size === 2) little ? bytes.writeUInt16LE(value, 2 * i) : bytes.writeUInt16BE(value, 2 * i);
      else little ? bytes.writeDoubleLE(value, 8 * i) : bytes.writeDoubleBE(value, 8 * i);
    });
    return element(size === 1 ? UINT8 : size === 2 ? UINT16 : DOUBLE, bytes);
  };
  const array = (name: string, kind: number, shape: number[], data: Buffer): Buffer => {
    const flags = element(UINT32, Buffer.concat([word(kind), word(0)]));
    const sizes = element(INT32, Buffer.concat(shape.map(word)));
    return element(MATRIX, Buffer.concat([flags, sizes, element(INT8, Buffer.from(name, "latin1")), data]));
  };
  const text = (name: string, value: string) =>
    array(name, CHAR, [1, value.length], numbers(Uint16Array.from(value, (character) => character.charCodeAt(0))));
  const variable = (name: string, value: MatInput): Buffer => {
    if (typeof value === "string") return text(name, value);
    if (Array.isArray(value))
      return array(name, CELL, [value.length, 1], Buffer.concat(value.map((cell) => text("", cell))));
    const kind = { 1: CLASS_UINT8, 2: CLASS_UINT16, 8: CLASS_DOUBLE }[value.BYTES_PER_ELEMENT]!;
    return array(name, kind, [value.length, 1], numbers(value));
  };
  const header = Buffer.alloc(128, " ");
  header.write("MATLAB 5.0 MAT-file, written by a test");
  header.write(little ? "\x00\x01IM" : "\x01\x00MI", 124, "latin1");
  const parts = Object.entries(variables).map(([name, value]) => {
    const plain = variable(name, value);
    if (!compressed) return plain;
    const packed = deflateSync(plain);
    return Buffer.concat([word(COMPRESSED), word(packed.length), packed]);
  });
  return Buffer.concat([header, ...parts]);
}

/**
 * MATLAB files of version 5 to 7, little or big endian, compressed or not: real numeric arrays, text, and cells of these,
 * which is what lists of images consist of. Other variables (structures, objects, sparse and complex arrays) may be in the
 * file, but are not read. Version 7.3 is HDF5, another format.
 *
 * A variable is a tree of elements, each a tag (type, bytes) and its data: "MAT-File Format", The MathWorks, R2023a.
 */
import { readFile } from "node:fs/promises";
import { inflateSync } from "node:zlib";
import { UserError } from "../errors.js";

/** A real array; `data` in column-major order, as MATLAB keeps it. */
export interface MatNumbers {
  kind: "numbers";
  shape: number[];
  data: Float64Array;
}
export interface MatText {
  kind: "text";
  text: string;
}
export interface MatCells {
  kind: "cells";
  shape: number[];
  cells: MatValue[];
}
export interface MatOther {
  kind: "other";
  /** What it is, for messages. */
  class: string;
}
export type MatValue = MatNumbers | MatText | MatCells | MatOther;

const HEADER_BYTES = 128;
const MATRIX = 14;
const COMPRESSED = 15;
/** Bytes of a number and how to read it, by the type of an element. */
const NUMBERS: Readonly<Record<number, [number, (view: DataView, at: number, little: boolean) => number]>> = {
  1: [1, (view, at) => view.getInt8(at)],
  2: [1, (view, at) => view.getUint8(at)],
  3: [2, (view, at, little) => view.getInt16(at, little)],
  4: [2, (view, at, little) => view.getUint16(at, little)],
  5: [4, (view, at, little) => view.getInt32(at, little)],
  6: [4, (view, at, little) => view.getUint32(at, little)],
  7: [4, (view, at, little) => view.getFloat32(at, little)],
  9: [8, (view, at, little) => view.getFloat64(at, little)],
  12: [8, (view, at, little) => Number(view.getBigInt64(at, little))],
  13: [8, (view, at, little) => Number(view.getBigUint64(at, little))],
};
const UTF8 = 16;
const UTF16 = 17;
const UTF32 = 18;
/** Classes of arrays. */
const CELL = 1;
const TEXT = 4;
const FIRST_NUMERIC = 6;
const LAST_NUMERIC = 15;
const CLASSES = ["", "cell", "struct", "object", "char", "sparse"];
const COMPLEX = 0x08;

/** @throws UserError when the file cannot be read, or is no such file or a damaged one */
export async function readMat5(path: string): Promise<Map<string, MatValue>> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new UserError(`Cannot read ${path}: ${(cause as Error).message}.`, { cause });
  }
  try {
    return parseMat5(bytes);
  } catch (cause) {
    throw new UserError(`${path} is no intact MATLAB file of version 5 to 7: ${(cause as Error).message}.`, { cause });
  }
}

/** The variables of a file by name. @throws Error saying what is wrong */
export function parseMat5(bytes: Uint8Array): Map<string, MatValue> {
  const mark = String.fromCharCode(...bytes.subarray(126, 128));
  if (bytes.length < HEADER_BYTES || (mark !== "IM" && mark !== "MI")) throw new Error("it does not begin as one does");
  const variables = new Map<string, MatValue>();
  const reader = new Reader(bytes.subarray(HEADER_BYTES), mark === "IM");
  while (!reader.done) {
    const element = reader.element();
    // Only here elements are compressed, and then without padding.
    const inner =
      element.type === COMPRESSED ? new Reader(inflateSync(element.bytes), reader.little).element() : element;
    if (inner.type !== MATRIX) throw new Error(`a variable of the type ${inner.type}`);
    const { name, value } = parseMatrix(new Reader(inner.bytes, reader.little));
    variables.set(name, value);
  }
  return variables;
}

interface Element {
  type: number;
  bytes: Uint8Array;
}

class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(
    private readonly bytes: Uint8Array,
    readonly little: boolean,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  element(): Element {
    this.need(8);
    const word = this.view.getUint32(this.at, this.little);
    // Up to four bytes fit beside the type in the tag itself; then its upper half is their number.
    const small = word >>> 16;
    const type = small > 0 ? word & 0xffff : word;
    const length = small > 0 ? small : this.view.getUint32(this.at + 4, this.little);
    if (small > 4) throw new Error("a damaged tag");
    const start = this.at + (small > 0 ? 4 : 8);
    this.need(start - this.at + length);
    this.at = type === COMPRESSED ? start + length : small > 0 ? this.at + 8 : start + Math.ceil(length / 8) * 8;
    return { type, bytes: this.bytes.subarray(start, start + length) };
  }

  numbers(): Float64Array {
    const { type, bytes } = this.element();
    const [size, read] = NUMBERS[type] ?? [];
    if (!size || bytes.length % size !== 0) throw new Error(`numbers of the type ${type} in ${bytes.length} bytes`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Float64Array.from({ length: bytes.length / size }, (_, i) => read!(view, i * size, this.little));
  }

  text(): string {
    const start = this.at;
    const { type, bytes } = this.element();
    if (type === UTF8) return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (type === UTF16) return new TextDecoder(this.little ? "utf-16le" : "utf-16be", { fatal: true }).decode(bytes);
    if (type === UTF32) throw new Error("text in UTF-32");
    this.at = start;
    return Array.from(this.numbers(), (code) => String.fromCodePoint(code)).join("");
  }

  private need(bytes: number): void {
    if (this.at + bytes > this.bytes.length) throw new Error("it ends too early");
  }
}

function parseMatrix(reader: Reader): { name: string; value: MatValue } {
  // An empty cell may be written as a matrix of no bytes at all.
  if (reader.done) return { name: "", value: { kind: "numbers", shape: [0, 0], data: new Float64Array() } };
  const [flags] = reader.numbers();
  const kind = flags & 0xff;
  const shape = Array.from(reader.numbers());
  const name = reader.text();
  const length = shape.reduce((product, size) => product * size, 1);
  if (kind === CELL) {
    const cells = Array.from({ length }, () => {
      const { type, bytes } = reader.element();
      if (type !== MATRIX) throw new Error(`a cell of ${name} of the type ${type}`);
      return parseMatrix(new Reader(bytes, reader.little)).value;
    });
    return { name, value: { kind: "cells", shape, cells } };
  }
  if (kind === TEXT) return { name, value: { kind: "text", text: reader.text() } };
  if (kind < FIRST_NUMERIC || kind > LAST_NUMERIC || (flags >> 8) & COMPLEX)
    return { name, value: { kind: "other", class: CLASSES[kind] ?? "complex or unknown" } };
  const data = reader.numbers();
  if (data.length !== length) throw new Error(`${name} has ${data.length} values for the shape ${shape.join(" x ")}`);
  return { name, value: { kind: "numbers", shape, data } };
}

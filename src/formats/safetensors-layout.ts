/**
 * The safetensors layout, without any file access (so that it also serves a browser):
 *
 *     8 bytes    length N of the header, little-endian uint64
 *     N bytes    header, JSON: {"__metadata__": {string: string}, "<name>": {dtype, shape, data_offsets: [begin, end]}}
 *     the rest   the tensors' bytes, little-endian, without holes; offsets count from the header's end
 *
 * A file that is not exactly that is refused: a silent misreading of weights is worse than an error.
 */
import { UserError } from "../errors.js";

/** How the elements of each dtype are held. Half floats stay as their 16 bits, booleans and 8-bit floats as bytes. */
export interface ElementArrays {
  F64: Float64Array;
  F32: Float32Array;
  F16: Uint16Array;
  BF16: Uint16Array;
  F8_E4M3: Uint8Array;
  F8_E5M2: Uint8Array;
  I64: BigInt64Array;
  U64: BigUint64Array;
  I32: Int32Array;
  U32: Uint32Array;
  I16: Int16Array;
  U16: Uint16Array;
  I8: Int8Array;
  U8: Uint8Array;
  BOOL: Uint8Array;
}

export type DType = keyof ElementArrays;

/** A tensor as it lies in a file; `dtype` decides the type of `data`, whose length is the product of `shape`. */
export type StoredTensor = { [D in DType]: { dtype: D; shape: number[]; data: ElementArrays[D] } }[DType];

export interface SafetensorsFile {
  metadata: Record<string, string>;
  tensors: Map<string, StoredTensor>;
}

/** Where one tensor lies: `begin` and `end` in bytes from the end of the header. */
export interface TensorEntry {
  name: string;
  dtype: DType;
  shape: number[];
  begin: number;
  end: number;
}

export interface Header {
  metadata: Record<string, string>;
  /** In the order of the header. */
  entries: TensorEntry[];
}

/** Bytes of the length that opens the file. */
export const LENGTH_BYTES = 8;

/** The format's own bound on a header; a larger length is a file of another kind. */
const MAX_HEADER_BYTES = 100_000_000;

export const ELEMENTS: {
  [D in DType]: {
    new (buffer: ArrayBuffer, offset?: number, length?: number): ElementArrays[D];
    BYTES_PER_ELEMENT: number;
  };
} = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  F8_E4M3: Uint8Array,
  F8_E5M2: Uint8Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

const elementBytes = (dtype: DType) => ELEMENTS[dtype].BYTES_PER_ELEMENT;
const elementCount = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const refuse = (file: string, what: string, cause?: unknown) =>
  new UserError(`${file} is not a valid safetensors file: ${what}`, { cause });

/**
 * Length of the header in bytes.
 *
 * @param start the file's first 8 bytes, or fewer where it has no more
 * @param fileBytes size of the whole file
 * @throws UserError naming `file` when the header cannot fit into it
 */
export function headerLength(start: Uint8Array, fileBytes: number, file: string): number {
  if (start.length < LENGTH_BYTES)
    throw refuse(file, `it has ${fileBytes} bytes, fewer than the ${LENGTH_BYTES} that give the header's length.`);
  const length = Number(new DataView(start.buffer, start.byteOffset).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    throw refuse(file, `its first bytes announce a header of ${length} bytes; it is a file of another kind.`);
  if (length > fileBytes - LENGTH_BYTES)
    throw refuse(
      file,
      `the header is truncated, ${fileBytes - LENGTH_BYTES} of ${length} bytes are there. Copy or download it again.`,
    );
  return length;
}

/**
 * Reads and checks a header.
 *
 * @param bytes the header's JSON
 * @param dataBytes bytes of the file behind the header
 * @throws UserError naming `file` and the tensor: bad JSON, unknown dtype, a size that does not match shape and dtype,
 * offsets that overlap, leave a hole or pass the end, truncated data
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, file: string): Header {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw refuse(file, "its header is not JSON.", cause);
  }
  if (!isRecord(json)) throw refuse(file, "its header is not a JSON object.");

  let metadata: Record<string, string> = {};
  const entries: TensorEntry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = checkMetadata(value, file);
    else entries.push(checkEntry(name, value, file));
  }
  checkCoverage(entries, dataBytes, file);
  return { metadata, entries };
}

function checkMetadata(value: unknown, file: string): Record<string, string> {
  if (!isRecord(value)) throw refuse(file, "__metadata__ is not a JSON object.");
  for (const [key, text] of Object.entries(value))
    if (typeof text !== "string") throw refuse(file, `__metadata__ holds "${key}", whose value is not a string.`);
  return value as Record<string, string>;
}

function checkEntry(name: string, value: unknown, file: string): TensorEntry {
  if (!isRecord(value)) throw refuse(file, `the entry of tensor "${name}" is not a JSON object.`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(ELEMENTS, dtype))
    throw refuse(
      file,
      `tensor "${name}" has dtype ${JSON.stringify(dtype)}; known are ${Object.keys(ELEMENTS).join(", ")}.`,
    );
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw refuse(file, `tensor "${name}" has shape ${JSON.stringify(shape)}, which is no list of sizes.`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1])
    throw refuse(file, `tensor "${name}" has data_offsets ${JSON.stringify(offsets)}, which are no range of bytes.`);
  const [begin, end] = offsets;
  const expected = elementCount(shape) * elementBytes(dtype as DType);
  if (end - begin !== expected)
    throw refuse(
      file,
      `tensor "${name}" takes ${end - begin} bytes, but ${dtype} of shape [${shape.join(", ")}] takes ${expected}.`,
    );
  return { name, dtype: dtype as DType, shape, begin, end };
}

/** The tensors must tile the data: each begins where the one before ends, and the last ends with the file. */
function checkCoverage(entries: readonly TensorEntry[], dataBytes: number, file: string): void {
  let position = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin < position) throw refuse(file, `tensor "${name}" overlaps the one before it, at byte ${begin}.`);
    if (begin > position) throw refuse(file, `bytes ${position} to ${begin}, before "${name}", belong to no tensor.`);
    position = end;
  }
  if (position > dataBytes)
    throw refuse(
      file,
      `the data is truncated, ${dataBytes} of ${position} bytes are there. Copy or download it again.`,
    );
  if (position < dataBytes) throw refuse(file, `${dataBytes - position} bytes follow the last tensor.`);
}

/** The bytes of one entry, which begin at `offset` of the buffer, as a tensor: in place where they are aligned to its elements. */
export function tensorFrom(
  { dtype, shape, begin, end }: TensorEntry,
  buffer: ArrayBuffer,
  offset: number,
): StoredTensor {
  const aligned = offset % elementBytes(dtype) === 0;
  const [bytes, at] = aligned ? [buffer, offset] : [buffer.slice(offset, offset + end - begin), 0];
  return { dtype, shape, data: new ELEMENTS[dtype](bytes, at, elementCount(shape)) } as StoredTensor;
}

/**
 * Parses a whole file that is in memory already. The tensors are copies, so that no offset has to be aligned.
 *
 * @param name how errors call the file
 * @throws UserError when the bytes are no valid safetensors file
 */
export function parseSafetensors(bytes: Uint8Array, name: string): SafetensorsFile {
  const dataStart = LENGTH_BYTES + headerLength(bytes.subarray(0, LENGTH_BYTES), bytes.length, name);
  const { metadata, entries } = parseHeader(bytes.subarray(LENGTH_BYTES, dataStart), bytes.length - dataStart, name);
  const tensors = new Map<string, StoredTensor>();
  for (const entry of entries) {
    const copy = new Uint8Array(entry.end - entry.begin);
    copy.set(bytes.subarray(dataStart + entry.begin, dataStart + entry.end));
    tensors.set(entry.name, tensorFrom(entry, copy.buffer, 0));
  }
  return { metadata, tensors };
}

/** What `layOut` decides: the bytes that open the file, and the tensors in the order in which their bytes follow. */
export interface Layout {
  /** Length and header, padded with spaces so that the data begins at a multiple of 8. */
  start: Uint8Array;
  ordered: [string, StoredTensor][];
}

/**
 * Lays tensors out: wide elements first and otherwise in the order given, so that each tensor is aligned to its
 * elements and other readers can map the file.
 *
 * @throws Error on a name given twice, the reserved name, or data that does not match its shape: bugs of the caller
 */
export function layOut(tensors: Iterable<[string, StoredTensor]>, metadata: Record<string, string>): Layout {
  const ordered = [...tensors].sort(([, a], [, b]) => elementBytes(b.dtype) - elementBytes(a.dtype));
  const header: [string, unknown][] = [["__metadata__", metadata]];
  const names = new Set(["__metadata__"]);
  let offset = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    if (names.has(name)) throw new Error(`tensor name "${name}" is reserved or given twice`);
    names.add(name);
    if (data.byteLength !== elementCount(shape) * elementBytes(dtype))
      throw new Error(`tensor "${name}": ${data.byteLength} bytes do not fill ${dtype} of shape [${shape.join(", ")}]`);
    header.push([name, { dtype, shape, data_offsets: [offset, offset + data.byteLength] }]);
    offset += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const padded = Math.ceil(json.length / 8) * 8;
  const start = new Uint8Array(LENGTH_BYTES + padded).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(padded), true);
  start.set(json, LENGTH_BYTES);
  return { start, ordered };
}

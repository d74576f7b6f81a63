/**
 * Files of torch.save: the zip archive of torch 1.6 and later, and the pickles one after another of torch before (which
 * torchvision's resnet50-19c8e357.pth and the published code of MPN use). Of the pickle only tensors, their storages and
 * plain data are made; a file that asks for anything else is refused, and nothing in it runs.
 */
import { readFile } from "node:fs/promises";
import { type Unzipped, unzipSync } from "fflate";
import { UserError } from "../errors.js";
import { PyGlobal, type PyValue, unpickle } from "./pickle.js";
import { type DType, ELEMENTS, type StoredTensor } from "./safetensors-layout.js";
import { looksLikeTorch } from "./torch-file.js";

/** Classes of storages and what their elements are. */
export const STORAGES: Readonly<Record<string, DType>> = {
  FloatStorage: "F32",
  DoubleStorage: "F64",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
};

/** First of the pickles of an old file. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_VERSION = 1001;

class Storage {
  /** Null until they are found. */
  values: StoredTensor["data"] | null = null;
  constructor(
    readonly key: string,
    readonly dtype: DType,
    readonly elements: number,
  ) {}
}

class TensorReference {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: number[],
    readonly strides: number[],
  ) {}
}

/**
 * Reads the tensors of a state dict, or of a dictionary that holds one under `state_dict`, `model` or `net`.
 * @returns tensors by name, contiguous
 * @throws UserError naming the file when it is missing, damaged, or holds anything else than tensors and plain data
 */
export async function readTorch(path: string): Promise<Map<string, StoredTensor>> {
  let file: Uint8Array;
  try {
    file = await readFile(path);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new UserError(`Cannot read ${path}: ${missing ? "there is no such file" : (cause as Error).message}.`, {
      cause,
    });
  }
  return parseTorch(file, path);
}

/** As `readTorch`, of bytes at hand. */
export function parseTorch(file: Uint8Array, source: string): Map<string, StoredTensor> {
  if (!looksLikeTorch(file)) {
    throw new UserError(`${source} is no file of torch.save: it starts neither as a zip archive nor as a pickle.`);
  }
  const value = file[0] === 0x50 ? readArchive(file, source) : readLegacy(file, source);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, tensor] of stateDict(value, source)) tensors.set(name, gather(tensor, name, source));
  return tensors;
}

function readArchive(file: Uint8Array, source: string): PyValue {
  let entries: Unzipped;
  try {
    entries = unzipSync(file);
  } catch (cause) {
    throw damaged(source, `the archive cannot be unpacked (${(cause as Error).message})`, cause);
  }
  const pickle = Object.keys(entries).find((name) => /(^|\/)data\.pkl$/.test(name));
  if (pickle === undefined) throw damaged(source, "the archive has no data.pkl; it is no file of torch.save");
  const folder = pickle.slice(0, -"data.pkl".length);
  const order = entries[`${folder}byteorder`];
  if (order && new TextDecoder().decode(order) !== "little") throw damaged(source, "its numbers are big-endian");
  const storages = new Storages(source);
  const { value } = unpickle(entries[pickle], 0, { source, call: construct, persistent: storages.find });
  for (const storage of storages.all) {
    const bytes = entries[`${folder}data/${storage.key}`];
    if (!bytes) throw damaged(source, `the archive lacks data/${storage.key}`);
    storages.fill(storage, bytes);
  }
  return value;
}

function readLegacy(file: Uint8Array, source: string): PyValue {
  const storages = new Storages(source);
  let at = 0;
  const next = (): PyValue => {
    const { value, end } = unpickle(file, at, { source, call: construct, persistent: storages.find });
    at = end;
    return value;
  };
  if (next() !== LEGACY_MAGIC) throw new UserError(`${source} is a pickle, but no file of torch.save.`);
  if (next() !== LEGACY_VERSION) throw damaged(source, "its format has an unknown version");
  const system = next();
  if (system instanceof Map && system.get("little_endian") === false) {
    throw damaged(source, "its numbers are big-endian");
  }
  const value = next();
  const keys = next();
  if (!Array.isArray(keys)) throw damaged(source, "it does not list its storages");
  for (const key of keys) {
    const storage = storages.byKey.get(String(key));
    if (!storage || at + 8 > file.length) throw damaged(source, `the storage ${String(key)} is missing`);
    const elements = Number(new DataView(file.buffer, file.byteOffset + at).getBigInt64(0, true));
    at += 8;
    if (elements !== storage.elements) throw damaged(source, `the storage ${storage.key} has another size than stated`);
    const end = at + elements * ELEMENTS[storage.dtype].BYTES_PER_ELEMENT;
    storages.fill(storage, file.subarray(at, end));
    at = end;
  }
  return value;
}

class Storages {
  readonly byKey = new Map<string, Storage>();
  constructor(private readonly source: string) {}

  get all(): Storage[] {
    return [...this.byKey.values()];
  }

  /** ("storage", class, key, device, elements), and in old files the view's place, null for a whole storage. */
  find = (id: PyValue): Storage => {
    const [kind, type, key, , elements, view] = Array.isArray(id) ? id : [];
    const dtype = type instanceof PyGlobal && type.module === "torch" ? STORAGES[type.name] : undefined;
    if (kind !== "storage" || !dtype || !isCount(elements) || (view !== undefined && view !== null)) {
      throw damaged(this.source, `a tensor lies in ${String(type)}, which is no known storage`);
    }
    const name = String(key);
    const known = this.byKey.get(name);
    if (known) return known;
    const storage = new Storage(name, dtype, elements);
    this.byKey.set(name, storage);
    return storage;
  };

  fill(storage: Storage, bytes: Uint8Array): void {
    const size = storage.elements * ELEMENTS[storage.dtype].BYTES_PER_ELEMENT;
    if (bytes.length !== size) {
      throw damaged(this.source, `the storage ${storage.key} has ${bytes.length} of ${size} bytes`);
    }
    // A copy, since an element may lie at any byte of the file.
    storage.values = new ELEMENTS[storage.dtype](new Uint8Array(bytes).buffer);
  }
}

/** The only calls that a file of tensors needs. */
function construct(callee: PyGlobal, args: readonly PyValue[]): PyValue | undefined {
  switch (String(callee)) {
    case "collections.OrderedDict":
      // Old Pythons give the items as the argument.
      return new Map(((args[0] as PyValue[] | undefined) ?? []) as [PyValue, PyValue][]);
    case "torch._utils._rebuild_tensor":
    case "torch._utils._rebuild_tensor_v2": {
      const [storage, offset, shape, strides] = args;
      if (!(storage instanceof Storage) || !isCount(offset) || !isCounts(shape) || !isCounts(strides)) return undefined;
      return shape.length === strides.length ? new TensorReference(storage, offset, shape, strides) : undefined;
    }
    case "torch._utils._rebuild_parameter":
      return args[0] instanceof TensorReference ? args[0] : undefined;
    case "torch.Size":
      return isCounts(args[0]) ? args[0] : undefined;
    default:
      return undefined;
  }
}

const isCount = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 0;
const isCounts = (v: unknown): v is number[] => Array.isArray(v) && v.every(isCount);

const WRAPPERS = ["state_dict", "model", "net"];

function stateDict(value: PyValue, source: string): [string, TensorReference][] {
  if (value instanceof Map) {
    const tensors = [...value].filter((e): e is [string, TensorReference] => e[1] instanceof TensorReference);
    if (tensors.length > 0) return tensors.map(([name, tensor]) => [String(name), tensor]);
    for (const key of WRAPPERS) if (value.get(key) instanceof Map) return stateDict(value.get(key)!, source);
  }
  const found =
    value instanceof Map ? `a dictionary of ${[...value.keys()].slice(0, 5).join(", ") || "nothing"}` : "no dictionary";
  throw new UserError(
    `${source} holds ${found}; a dictionary of tensors was looked for, at the top or under ${WRAPPERS.join(", ")}.`,
  );
}

/** The elements of a tensor, whatever its strides, in a buffer of its own. */
function gather({ storage, offset, shape, strides }: TensorReference, name: string, source: string): StoredTensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const last = size === 0 ? -1 : shape.reduce((sum, d, i) => sum + (d - 1) * strides[i], offset);
  if (size > storage.elements || last >= storage.elements) {
    throw damaged(source, `${name} [${shape.join(", ")}] reaches beyond its storage of ${storage.elements} elements`);
  }
  const { dtype } = storage;
  const Elements = ELEMENTS[dtype];
  const all = storage.values!;
  const data = new Elements(new ArrayBuffer(size * Elements.BYTES_PER_ELEMENT));
  const index = shape.map(() => 0);
  for (let i = 0, at = offset; i < size; i++) {
    data[i] = all[at];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++index[axis] < shape[axis]) break;
      at -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return { dtype, shape, data } as StoredTensor;
}

const damaged = (source: string, what: string, cause?: unknown) =>
  new UserError(`${source} is damaged or of an unknown kind: ${what}.`, { cause });

/** Writes state dicts that torch.load reads: the zip archive of torch 1.6 and later, its pickle of protocol 2. */
import { strFromU8, strToU8, type Zippable, zipSync } from "fflate";
import { UserError } from "../errors.js";
import type { StoredTensor } from "./safetensors-layout.js";
import { STORAGES } from "./torch.js";
import { writeAside } from "./write-aside.js";

/** The folder inside the archive, as torch calls it where it writes to memory. */
const FOLDER = "archive";

/**
 * Writes an OrderedDict of tensors, aside and renamed.
 * @throws UserError when the file cannot be written; one that was at `path` stays as it was
 */
export async function writeTorch(path: string, tensors: Iterable<[string, StoredTensor]>): Promise<void> {
  const entries = [...tensors];
  const files: Zippable = {
    [`${FOLDER}/data.pkl`]: pickleStateDict(entries),
    [`${FOLDER}/version`]: strToU8("3\n"),
  };
  entries.forEach(([, { data }], i) => {
    files[`${FOLDER}/data/${i}`] = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  });
  // Stored, not compressed: torch maps the tensors as they lie. The date is fixed, so that equal weights are equal files.
  await writeAside(path, [zipSync(files, { level: 0, mtime: "1980-01-01" })]);
}

/**
 * Whether a file begins as `writeTorch` begins one: with the pickle, and without the extra field by which torch itself
 * aligns it.
 */
export function startsAsWritten(start: Uint8Array): boolean {
  const name = `${FOLDER}/data.pkl`;
  // The local header: signature, then lengths of name and extra field before the name.
  const header = [0x50, 0x4b, 3, 4].every((byte, i) => start[i] === byte);
  const lengths = [name.length, 0, 0, 0].every((byte, i) => start[26 + i] === byte);
  return header && lengths && strFromU8(start.subarray(30, 30 + name.length)) === name;
}

function pickleStateDict(tensors: readonly [string, StoredTensor][]): Uint8Array {
  const out: number[] = [];
  const put = (...bytes: number[]) => void out.push(...bytes);
  const code = (name: string) => put(name.charCodeAt(0));
  const u32 = (n: number) => put(n & 255, (n >> 8) & 255, (n >> 16) & 255, (n >>> 24) & 255);
  const global = (module: string, name: string) => put(...strToU8(`c${module}\n${name}\n`));
  const text = (value: string) => {
    const bytes = strToU8(value);
    code("X"); // BINUNICODE
    u32(bytes.length);
    put(...bytes);
  };
  const int = (n: number) => {
    if (n < 2 ** 31) {
      code("J"); // BININT
      u32(n);
    } else {
      put(0x8a, 8); // LONG1
      u32(n % 2 ** 32);
      u32(Math.floor(n / 2 ** 32));
    }
  };
  const tuple = (values: readonly number[]) => {
    code("("); // MARK
    values.forEach(int);
    code("t"); // TUPLE
  };
  const emptyDict = () => {
    global("collections", "OrderedDict");
    put(0x29, 0x52); // EMPTY_TUPLE, REDUCE
  };

  put(0x80, 2); // PROTO
  emptyDict();
  code("(");
  tensors.forEach(([name, { dtype, shape, data }], i) => {
    const storage = Object.keys(STORAGES).find((type) => STORAGES[type] === dtype);
    if (!storage) throw new UserError(`${name} is ${dtype}, which torch has no storage for.`);
    text(name);
    global("torch._utils", "_rebuild_tensor_v2");
    code("("); // the arguments: storage, offset, shape, strides, requires_grad, hooks
    code("("); // the storage's persistent id
    text("storage");
    global("torch", storage);
    text(String(i));
    text("cpu");
    int(data.length);
    code("t");
    code("Q"); // BINPERSID
    int(0);
    tuple(shape);
    tuple(shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1)));
    put(0x89); // NEWFALSE
    emptyDict();
    code("t");
    code("R"); // REDUCE
  });
  put(0x75, 0x2e); // SETITEMS, STOP
  return Uint8Array.from(out);
}

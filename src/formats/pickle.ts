/**
 * Python pickles as data: protocols 0 to 5, as far as files of numbers need them. Nothing is executed. A class or function
 * that a pickle names stays a name; what may be made of it, the caller says.
 */
import { UserError } from "../errors.js";

/** A class or function that the pickle names. */
export class PyGlobal {
  constructor(
    readonly module: string,
    readonly name: string,
  ) {}

  toString(): string {
    return `${this.module}.${this.name}`;
  }
}

/** Tuples, lists and sets are arrays; dictionaries are maps; integers beyond 2^53 are bigints. */
export type PyValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PyGlobal
  | PyValue[]
  | Map<PyValue, PyValue>
  | object;

export interface PickleOptions {
  /** Names the file in errors. */
  readonly source: string;
  /** What calling this global gives; `undefined` refuses it. Called at once, with the arguments read. */
  readonly call: (callee: PyGlobal, args: readonly PyValue[]) => PyValue | undefined;
  /** Value of a persistent id: where the file keeps what is outside the pickle. */
  readonly persistent?: (id: PyValue) => PyValue;
}

const MARK = Symbol("mark");
type Item = PyValue | typeof MARK;

/** @returns the value and where the pickle ends. Throws UserError on anything else than data, and on damage */
export function unpickle(bytes: Uint8Array, start: number, options: PickleOptions): { value: PyValue; end: number } {
  return new Unpickler(bytes, start, options).run();
}

class Unpickler {
  private readonly view: DataView;
  private readonly stack: Item[] = [];
  private readonly memo = new Map<number, PyValue>();

  constructor(
    private readonly bytes: Uint8Array,
    private at: number,
    private readonly options: PickleOptions,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): { value: PyValue; end: number } {
    for (;;) {
      const code = this.bytes[this.skip(1)];
      if (code === STOP) return { value: this.pop(), end: this.at };
      const step = OPCODES[code];
      if (!step) this.fail(`the opcode 0x${code.toString(16)}, which no file of weights needs`);
      step(this);
    }
  }

  fail(what: string): never {
    throw new UserError(`${this.options.source} cannot be read safely: its pickle has ${what} (byte ${this.at}).`);
  }

  /** Moves past `length` bytes. @returns where they start */
  skip(length: number): number {
    const from = this.at;
    if (!Number.isSafeInteger(length) || length < 0 || from + length > this.bytes.length) {
      throw new UserError(`${this.options.source} is damaged: its pickle ends early. Copy or download it again.`);
    }
    this.at += length;
    return from;
  }

  u8 = () => this.view.getUint8(this.skip(1));
  u16 = () => this.view.getUint16(this.skip(2), true);
  u32 = () => this.view.getUint32(this.skip(4), true);
  i32 = () => this.view.getInt32(this.skip(4), true);
  u64 = () => Number(this.view.getBigUint64(this.skip(8), true));
  f64 = () => this.view.getFloat64(this.skip(8), false);

  text(length: number): string {
    const from = this.skip(length);
    return new TextDecoder().decode(this.bytes.subarray(from, from + length));
  }

  raw(length: number): Uint8Array {
    const from = this.skip(length);
    return this.bytes.slice(from, from + length);
  }

  line(): string {
    const end = this.bytes.indexOf(10, this.at);
    const text = this.text((end < 0 ? this.bytes.length : end) - this.at);
    this.skip(1);
    return text;
  }

  /** A two's complement integer of that many bytes, the least significant first. */
  long(length: number): PyValue {
    const from = this.skip(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[from + i]);
    if (length > 0 && this.bytes[from + length - 1] > 127) value -= 1n << BigInt(8 * length);
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  }

  push(value: Item): void {
    this.stack.push(value);
  }

  pop(): PyValue {
    const value = this.stack.pop();
    if (value === undefined || value === MARK) this.fail("values missing from its stack");
    return value;
  }

  top(): PyValue {
    const value = this.stack.at(-1);
    if (value === undefined || value === MARK) this.fail("values missing from its stack");
    return value;
  }

  /** Everything above the last mark, which goes too. */
  marked(): PyValue[] {
    const mark = this.stack.lastIndexOf(MARK);
    if (mark < 0) this.fail("a mark missing from its stack");
    const values = this.stack.splice(mark) as PyValue[];
    return values.slice(1);
  }

  tuple(count: number): void {
    const values = Array.from({ length: count }, () => this.pop());
    this.push(values.reverse());
  }

  setItems(pairs: PyValue[]): void {
    const target = this.top();
    if (!(target instanceof Map)) this.fail("items put into something else than a dictionary");
    for (let i = 0; i + 1 < pairs.length; i += 2) target.set(pairs[i], pairs[i + 1]);
  }

  append(values: PyValue[]): void {
    const target = this.top();
    if (!Array.isArray(target)) this.fail("items put into something else than a list");
    for (const value of values) target.push(value);
  }

  remember(index: number): void {
    this.memo.set(index, this.top());
  }

  memoize = () => this.remember(this.memo.size);

  recall(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) this.fail(`a reference to nothing (${index})`);
    this.push(value);
  }

  reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof PyGlobal) || !Array.isArray(args)) this.fail("a call of something that is no function");
    const value = this.options.call(callee, args);
    if (value === undefined) {
      throw new UserError(
        `${this.options.source} asks to run ${callee}, which tensors do not need; it was not run, and the file is refused. ` +
          "Save the weights alone: torch.save(model.state_dict(), path).",
      );
    }
    this.push(value);
  }

  /** State of an object. Of a dictionary it is what Python keeps beside the items (`_metadata`): not needed. */
  build(): void {
    this.pop();
    if (!(this.top() instanceof Map)) this.fail("state for an object that is no dictionary");
  }

  persistent(): void {
    const { persistent } = this.options;
    if (!persistent) this.fail("a reference to something outside it");
    this.push(persistent(this.pop()));
  }
}

const STOP = 0x2e;

/** By the byte of the opcode; names are those of Python's pickletools. */
const OPCODES: Readonly<Record<number, (p: Unpickler) => void>> = {
  128: (p) => void p.u8(), // PROTO
  149: (p) => void p.u64(), // FRAME
  40: (p) => p.push(MARK),
  48: (p) => void p.pop(), // POP
  78: (p) => p.push(null), // NONE
  136: (p) => p.push(true), // NEWTRUE
  137: (p) => p.push(false), // NEWFALSE
  73: (p) => p.push(lineNumber(p, p.line())), // INT
  76: (p) => p.push(lineNumber(p, p.line().replace(/L$/, ""))), // LONG
  74: (p) => p.push(p.i32()), // BININT
  75: (p) => p.push(p.u8()), // BININT1
  77: (p) => p.push(p.u16()), // BININT2
  138: (p) => p.push(p.long(p.u8())), // LONG1
  139: (p) => p.push(p.long(p.i32())), // LONG4
  70: (p) => p.push(Number(p.line())), // FLOAT
  71: (p) => p.push(p.f64()), // BINFLOAT
  88: (p) => p.push(p.text(p.u32())), // BINUNICODE
  140: (p) => p.push(p.text(p.u8())), // SHORT_BINUNICODE
  141: (p) => p.push(p.text(p.u64())), // BINUNICODE8
  84: (p) => p.push(p.text(p.i32())), // BINSTRING
  85: (p) => p.push(p.text(p.u8())), // SHORT_BINSTRING
  66: (p) => p.push(p.raw(p.u32())), // BINBYTES
  67: (p) => p.push(p.raw(p.u8())), // SHORT_BINBYTES
  125: (p) => p.push(new Map()), // EMPTY_DICT
  93: (p) => p.push([]), // EMPTY_LIST
  41: (p) => p.push([]), // EMPTY_TUPLE
  143: (p) => p.push([]), // EMPTY_SET
  116: (p) => p.push(p.marked()), // TUPLE
  108: (p) => p.push(p.marked()), // LIST
  133: (p) => p.tuple(1), // TUPLE1
  134: (p) => p.tuple(2), // TUPLE2
  135: (p) => p.tuple(3), // TUPLE3
  97: (p) => p.append([p.pop()]), // APPEND
  101: (p) => p.append(p.marked()), // APPENDS
  144: (p) => p.append(p.marked()), // ADDITEMS
  115: (p) => p.setItems([p.pop(), p.pop()].reverse()), // SETITEM
  117: (p) => p.setItems(p.marked()), // SETITEMS
  113: (p) => p.remember(p.u8()), // BINPUT
  114: (p) => p.remember(p.u32()), // LONG_BINPUT
  148: (p) => p.memoize(), // MEMOIZE
  104: (p) => p.recall(p.u8()), // BINGET
  106: (p) => p.recall(p.u32()), // LONG_BINGET
  99: (p) => p.push(new PyGlobal(p.line(), p.line())), // GLOBAL
  147: (p) => stackGlobal(p), // STACK_GLOBAL
  82: (p) => p.reduce(), // REDUCE
  98: (p) => p.build(), // BUILD
  81: (p) => p.persistent(), // BINPERSID
};

function stackGlobal(p: Unpickler): void {
  const [name, module] = [p.pop(), p.pop()];
  if (typeof name !== "string" || typeof module !== "string") p.fail("a class without a name");
  p.push(new PyGlobal(module, name));
}

function lineNumber(p: Unpickler, text: string): PyValue {
  if (text === "00" || text === "01") return text === "01";
  if (!/^-?\d+$/.test(text)) p.fail(`${JSON.stringify(text.slice(0, 20))} where a number belongs`);
  return Number(text);
}

/**
 * Matrix units where an adapter has none: shaders that use `chromium_experimental_subgroup_matrix` are rewritten into plain WGSL
 * before they reach the device, so that kernels for such units run, with their own staging, strides and bounds, on any adapter
 * with subgroups of a fixed size.
 *
 * A matrix becomes a struct of what one lane holds: row r is with lane r % lanes, whatever the kind. A product gives each lane
 * its rows of the sum, and the right operand's elements by `subgroupBroadcast`. All indices into what a lane holds are constants,
 * since drivers put arrays with others into memory. Components keep their type from the array to the product; sums are f32.
 */
import type { Device, MatrixUnits } from "#src/gpu/device.js";

/** From now on the device's convolutions take kernels for such units, and its shaders may use any matrices. */
export function emulateMatrixUnits(device: Device, units: Omit<MatrixUnits, "lanes">): void {
  const lanes = device.profile.subgroupSize;
  if (lanes === 0)
    throw new Error(`${device.profile.name} has no subgroups of a fixed size to emulate matrix units with`);
  const { gpu } = device;
  const create = gpu.createShaderModule.bind(gpu);
  gpu.createShaderModule = (descriptor) => create({ ...descriptor, code: emulated(descriptor.code, lanes) });
  device.profile = { ...device.profile, matrixUnits: { ...units, lanes } };
}

type Kind = "left" | "right" | "result";

/** As WGSL names it: `subgroup_matrix_KIND<component, columns, rows>`. */
interface Matrix {
  readonly name: string;
  readonly kind: Kind;
  readonly component: string;
  readonly columns: number;
  readonly rows: number;
}

const BUILTIN = /\b(?:subgroup_matrix|subgroupMatrix)\w*|\bchromium_experimental_subgroup_matrix\b/;
const IDENTIFIER = /^[A-Za-z_]\w*$/;

/**
 * The same shader without matrix types; what uses none stays as it is, to the letter. Lines keep their numbers but for those added at the end.
 * @param lanes of a subgroup
 * @throws Error naming the line of a construct that is not known here
 */
export function emulated(text: string, lanes: number): string {
  if (!BUILTIN.test(text)) return text;
  // Directives come before all else, and one may stand there already.
  const plain = text
    .replace(/\/\/.*$/gm, "")
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " "))
    .replace(/\benable\s+(subgroups|chromium_experimental_subgroup_matrix)\s*;/g, "");
  const shader = new Shader(`enable subgroups; diagnostic(off, subgroup_uniformity); ${plain}`, lanes);
  return shader.rewritten();
}

class Shader {
  private readonly matrices = new Map<string, Matrix>();
  /** By name, so that each is there once. */
  private readonly helpers = new Map<string, string>();
  private readonly aliases = new Map<string, string>();

  constructor(
    private code: string,
    private readonly lanes: number,
  ) {}

  rewritten(): string {
    this.replaceTypes();
    // The last one first: what stands in another's arguments then is done when that one's turn comes.
    for (;;) {
      const at = this.code.lastIndexOf("subgroupMatrix");
      if (at < 0) break;
      this.replaceCall(at);
    }
    const left = BUILTIN.exec(this.code);
    if (left) this.refuse(left.index, `${left[0]} is not known`);
    this.keepLane();
    return `${this.code}\nvar<private> emulated_lane: u32;\n${[...this.helpers.values()].join("")}`;
  }

  private replaceTypes(): void {
    const type = /\bsubgroup_matrix_(left|right|result)\s*<\s*(\w+)\s*,\s*(\w+)\s*,\s*(\w+)\s*,?\s*>/g;
    this.code = this.code.replace(
      type,
      (_, kind: Kind, component: string, columns: string, rows: string, at: number) => {
        const matrix = { kind, component, columns: this.number(columns, at), rows: this.number(rows, at) };
        const name = `emulated_${kind}_${component}_${matrix.columns}_${matrix.rows}`;
        if (component !== "f32" && (component !== "f16" || kind === "result"))
          this.refuse(at, `${kind} matrices of ${component} are not emulated`);
        this.matrices.set(name, { name, ...matrix });
        return name;
      },
    );
    for (const { name, columns, rows } of this.matrices.values())
      this.helpers.set(name, `struct ${name} { v: array<f32, ${columns * this.slots(rows)}> }\n`);
    for (const [, alias, name] of this.code.matchAll(/\balias\s+(\w+)\s*=\s*(emulated_\w+)\s*;/g))
      this.aliases.set(alias, name);
    for (const { index, 1: name } of this.code.matchAll(/\b(\w+)\s*\(\s*[^)\s]/g))
      if (this.matrices.has(this.aliases.get(name) ?? name))
        this.refuse(index, "matrices made of a value other than 0 are not emulated");
  }

  /** A literal or a module's `const`. */
  private number(written: string, at: number): number {
    const constant = new RegExp(`\\bconst\\s+${written}\\s*(?::\\s*\\w+\\s*)?=\\s*(\\d+)[ui]?\\s*;`).exec(this.code);
    const digits = /^(\d+)[ui]?$/.exec(constant?.[1] ?? written);
    return digits ? Number(digits[1]) : this.refuse(at, `the size ${written} is neither a number nor a const of one`);
  }

  private replaceCall(at: number): void {
    const [builtin] = /^\w+/.exec(this.code.slice(at))!;
    let open = at + builtin.length;
    let template: string[] = [];
    const given = /^\s*<([^<>()]*)>\s*/.exec(this.code.slice(open));
    if (given) {
      template = split(given[1]);
      open += given[0].length;
    }
    while (/\s/.test(this.code[open])) open++;
    const end = closing(this.code, open);
    if (end < 0) this.refuse(at, `${builtin} is not followed by its arguments`);
    const call = { at, builtin, template, arguments: split(this.code.slice(open + 1, end)) };
    this.code = this.code.slice(0, at) + this.callOf(call) + this.code.slice(end + 1);
  }

  private callOf(call: { at: number; builtin: string; template: string[]; arguments: string[] }): string {
    const { at, builtin, template } = call;
    const expect = (right: boolean) => right || this.refuse(at, `these arguments of ${builtin} are not known`);
    if (builtin === "subgroupMatrixMultiplyAccumulate") {
      expect(template.length === 0 && call.arguments.length === 3);
      return `${this.product(at)}(${call.arguments.join(", ")})`;
    }
    // The layout is a template argument, or in older texts a literal `col_major: bool` before the stride.
    const layoutOf = (older: string | undefined) =>
      older === undefined ? template[template.length - 1] : { true: "col_major", false: "row_major" }[older];
    if (builtin === "subgroupMatrixLoad") {
      expect(template.length + call.arguments.length === 5 && template.length > 0);
      const [pointer, offset, ...rest] = call.arguments;
      const layout = layoutOf(rest.length === 2 ? rest[0] : undefined);
      const stride = rest[rest.length - 1];
      const matrix = this.matrices.get(this.aliases.get(template[0]) ?? template[0]);
      if (!matrix) return this.refuse(at, `${template[0]} is no matrix`);
      return `${this.load(at, matrix, pointer, layout)}(u32(${offset}), u32(${stride}))`;
    }
    if (builtin === "subgroupMatrixStore") {
      expect(template.length + call.arguments.length === 5);
      const [pointer, offset, value, ...rest] = call.arguments;
      const layout = layoutOf(rest.length === 2 ? rest[0] : undefined);
      const stride = rest[rest.length - 1];
      return `${this.store(at, pointer, layout)}(u32(${offset}), ${value}, u32(${stride}))`;
    }
    return this.refuse(at, `${builtin} is not known`);
  }

  /** The name of a function (offset, stride) -> matrix; elements are converted one by one, as they lie there. */
  private load(at: number, matrix: Matrix, pointer: string, layout: string | undefined): string {
    const { name, rows } = matrix;
    const { array, width, packed } = this.arrayOf(at, pointer, matrix);
    const body = this.elements(matrix, (element, row, column) => {
      const { start, along } = this.place(at, layout, row, `${column}u`);
      const value = !packed
        ? `f32(${array}${inVectors(start, along, width)})`
        : packed === 2
          ? `unpack2x16float(${array}${inVectors(start, `(${along} / 2u)`, width)})[${along} % 2u]`
          : `bitcast<f32>(${array}${inVectors(start, along, width)})`;
      return rows % this.lanes === 0
        ? `  m.v[${element}] = ${value};\n`
        : `  if (${row} < ${rows}u) { m.v[${element}] = ${value}; }\n`;
    });
    const helper = `load_${array}_${layout}_${name}`;
    this.helpers.set(
      helper,
      `fn ${helper}(offset: u32, stride: u32) -> ${name} {\n  var m: ${name};\n${body}  return m;\n}\n`,
    );
    return helper;
  }

  /** The name of a function (offset, matrix, stride). */
  private store(at: number, pointer: string, layout: string | undefined): string {
    const matrix = this.only(at, "result");
    const { array, width, packed } = this.arrayOf(at, pointer, matrix);
    const body = this.elements(matrix, (element, row, column) => {
      const { start, along } = this.place(at, layout, row, `${column}u`);
      const guard = matrix.rows % this.lanes === 0 ? "" : `if (${row} < ${matrix.rows}u) `;
      const value = packed ? `bitcast<u32>(m.v[${element}])` : `m.v[${element}]`;
      return `  ${guard}{ ${array}${inVectors(start, along, width)} = ${value}; }\n`;
    });
    const helper = `store_${array}_${layout}_${matrix.name}`;
    this.helpers.set(helper, `fn ${helper}(offset: u32, m: ${matrix.name}, stride: u32) {\n${body}}\n`);
    return helper;
  }

  /** The name of a function (left, right, sums) -> sums. */
  private product(at: number): string {
    const sums = this.only(at, "result");
    const left = this.only(at, "left");
    const right = this.only(at, "right");
    if (left.rows !== sums.rows || right.columns !== sums.columns || left.columns !== right.rows)
      this.refuse(at, `${left.name} times ${right.name} is no ${sums.name}`);
    const { lanes } = this;
    const slots = this.slots(sums.rows);
    let body = "";
    for (let n = 0; n < sums.columns; n++) {
      for (let k = 0; k < right.rows; k++) {
        const held = Math.floor(k / lanes) * right.columns + n;
        body += `  r = subgroupBroadcast(right.v[${held}], ${k % lanes}u);\n`;
        for (let slot = 0; slot < slots; slot++)
          body += `  m.v[${slot * sums.columns + n}] += left.v[${slot * left.columns + k}] * r;\n`;
      }
    }
    const helper = `multiply_${left.name}_${right.name}`;
    const signature = `fn ${helper}(left: ${left.name}, right: ${right.name}, sums: ${sums.name}) -> ${sums.name}`;
    this.helpers.set(helper, `${signature} {\n  var m = sums;\n  var r: f32;\n${body}  return m;\n}\n`);
    return helper;
  }

  /** A statement for each element that a lane holds. */
  private elements(
    { columns, rows }: Matrix,
    statement: (element: number, row: string, column: number) => string,
  ): string {
    let body = "";
    for (let slot = 0; slot < this.slots(rows); slot++) {
      for (let column = 0; column < columns; column++)
        body += statement(slot * columns + column, `(${slot * this.lanes}u + emulated_lane)`, column);
    }
    return body;
  }

  /** Offsets and strides count elements of the array, which may be vectors: that of a line, and how many components further. */
  private place(at: number, layout: string | undefined, row: string, column: string) {
    if (layout !== "row_major" && layout !== "col_major") return this.refuse(at, `the layout ${layout} is not known`);
    const [line, along] = layout === "row_major" ? [row, column] : [column, row];
    return { start: `offset + ${line} * stride`, along };
  }

  /** Rows of a matrix that a lane holds. */
  private slots(rows: number): number {
    return Math.ceil(rows / this.lanes);
  }

  /**
   * The array behind `&name`: a variable of the module, whose elements are the matrix's components or vectors of them, or vectors of u32
   * whose bits they are: `packed` is how many of them lie in one.
   */
  private arrayOf(
    at: number,
    pointer: string,
    { name, component }: Matrix,
  ): { array: string; width: number; packed?: number } {
    const array = pointer.replace(/^&\s*\(?\s*|\s*\)?$/g, "");
    if (!pointer.startsWith("&") || !IDENTIFIER.test(array)) return this.refuse(at, `${pointer} is no &variable`);
    const type = String.raw`(?:vec([24])\s*<\s*)?(\w+)`;
    const variable = new RegExp(`\\bvar\\s*<\\s*(?:workgroup|storage)[^>]*>\\s*${array}\\s*:\\s*array\\s*<\\s*${type}`);
    const declared = variable.exec(this.code);
    if (!declared) return this.refuse(at, `${array} is no array of a workgroup or in storage`);
    const alias = new RegExp(`\\balias\\s+${declared[2]}\\s*=\\s*${type}[\\s>]*;`).exec(this.code);
    const [, width, element] = declared[1] || !alias ? declared : alias;
    if (element === "u32") return { array, width: Number(width ?? 1), packed: component === "f16" ? 2 : 1 };
    if (element !== component) this.refuse(at, `${array} has elements of ${element}, ${name} has others`);
    return { array, width: Number(width ?? 1) };
  }

  /** WGSL has functions for one type each, and this reads no declarations of variables: a shader has one matrix of each kind. */
  private only(at: number, kind: Kind): Matrix {
    const all = [...this.matrices.values()].filter((matrix) => matrix.kind === kind);
    if (all.length !== 1) this.refuse(at, `${all.length} types of ${kind} matrices in one shader are not emulated`);
    return all[0];
  }

  /** Has every entry point remember its lane. */
  private keepLane(): void {
    const lane = /@builtin\s*\(\s*subgroup_invocation_id\s*\)\s*(\w+)/;
    for (let from = 0; ; ) {
      const found = /@compute\b[^{]*?\bfn\s+\w+\s*(?=\()/.exec(this.code.slice(from));
      if (!found) break;
      const open = from + found.index + found[0].length;
      const end = closing(this.code, open);
      const body = this.code.indexOf("{", end);
      if (end < 0 || body < 0) this.refuse(open, "this entry point cannot be read");
      const parameters = this.code.slice(open + 1, end).trimEnd();
      const own = lane.exec(parameters)?.[1];
      const added = `${/(^|,)\s*$/.test(parameters) ? "" : ","} @builtin(subgroup_invocation_id) lane_of_emulation: u32`;
      const head = `(${parameters}${own ? "" : added})${this.code.slice(end + 1, body)}`;
      const start = `{ emulated_lane = ${own ?? "lane_of_emulation"};`;
      this.code = this.code.slice(0, open) + head + start + this.code.slice(body + 1);
      from = open + head.length + start.length;
    }
  }

  private refuse(at: number, why: string): never {
    const start = this.code.lastIndexOf("\n", at) + 1;
    const line = this.code.slice(0, at).split("\n").length;
    throw new Error(`emulated matrix units, line ${line}: ${why}: ${this.code.slice(start).split("\n", 1)[0].trim()}`);
  }
}

/** A component of an array of vectors, or of scalars, from the element at `start`. */
const inVectors = (start: string, along: string, width: number): string =>
  width === 1 ? `[${start} + ${along}]` : `[${start} + ${along} / ${width}u][${along} % ${width}u]`;

/** What commas outside of brackets part. */
function split(text: string): string[] {
  const parts = [""];
  let depth = 0;
  for (const char of text) {
    if ("([{".includes(char)) depth++;
    if (")]}".includes(char)) depth--;
    if (char === "," && depth === 0) parts.push("");
    else parts[parts.length - 1] += char;
  }
  const trimmed = parts.map((part) => part.trim());
  // One comma may follow the last.
  return trimmed[trimmed.length - 1] === "" ? trimmed.slice(0, -1) : trimmed;
}

/** The position of the parenthesis that closes the one at `open`; -1 where there is none. */
function closing(text: string, open: number): number {
  if (text[open] !== "(") return -1;
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === "(") depth++;
    if (text[at] === ")" && --depth === 0) return at;
  }
  return -1;
}

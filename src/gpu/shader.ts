/**
 * WGSL sources: a tiny preprocessor for what `override` constants cannot do (types, function-scope arrays), and
 * reflection, so that a launcher and its shader that disagree fail when the kernel is made, by name.
 */
import { shaderTexts } from "../generated/shaders.js";

export type ShaderName = keyof typeof shaderTexts;
/** Texts for `$NAME`; all of them can be asked for by `#if`. */
export type Defines = Readonly<Record<string, number | string | boolean>>;

export interface Binding {
  readonly name: string;
  readonly index: number;
  readonly type: GPUBufferBindingType;
}

export interface ParamsLayout {
  readonly size: number;
  readonly members: ReadonlyMap<string, { offset: number; type: "u32" | "i32" | "f32"; count: number }>;
}

export interface ShaderModule {
  readonly text: string;
  readonly bindings: readonly Binding[];
  readonly params: ParamsLayout | null;
}

/**
 * Expands `#include NAME` (of which a part may be a define), `#if A`, `#if !A`, `#if A == value` (also != and >), `#else`, `#endif` (nesting allowed)
 * and replaces `$NAME` or `${NAME}` by the define's value. `#for I in COUNT` ... `#endfor` repeats its lines with `$I` = 0, 1, ... and `$PREV` = I - 1:
 * registers need names, as indexed arrays of accumulators end up in memory on some drivers.
 */
export function preprocess(name: ShaderName, defines: Defines): string {
  const out: string[] = [];
  const active: boolean[] = [];
  const expand = (lines: readonly string[], file: string, defines: Defines) => {
    for (let at = 0; at < lines.length; at++) {
      const line = lines[at];
      const directive = /^\s*#(\w+)\s*(.*?)\s*$/.exec(line);
      if (!directive) {
        if (active.every(Boolean)) out.push(substitute(line, defines, file));
        continue;
      }
      const [, word, rest] = directive;
      if (word === "if") active.push(active.every(Boolean) && holds(rest, defines, file));
      else if ((word === "else" || word === "endif") && active.length === 0)
        throw new Error(`${file}.wgsl: #${word} without #if`);
      else if (word === "else") active.push(!active.pop());
      else if (word === "endif") active.pop();
      else if (word === "include") {
        if (!active.every(Boolean)) continue;
        const name = substitute(rest, defines, file);
        if (!(name in shaderTexts)) throw new Error(`${file}.wgsl includes ${name}, which is not in shaders/`);
        expand(shaderTexts[name as ShaderName].split("\n"), name, defines);
      } else if (word === "for") {
        const end = endOfLoop(lines, at, file);
        const m = /^(\w+) in (\w+)$/.exec(rest);
        if (!m) throw new Error(`${file}.wgsl: cannot read #for ${rest}`);
        const count = Number(defines[m[2]] ?? m[2]);
        const body = lines.slice(at + 1, end);
        if (active.every(Boolean))
          for (let i = 0; i < count; i++) expand(body, file, { ...defines, [m[1]]: i, PREV: i - 1 });
        at = end;
      } else throw new Error(`${file}.wgsl: unknown directive #${word}`);
    }
  };
  // A directive that has to come first; what is stored in halves is known by its type alone.
  if (Object.values(defines).some((value) => /\bf16\b/.test(String(value)))) out.push("enable f16;");
  expand(shaderTexts[name].split("\n"), name, defines);
  if (active.length > 0) throw new Error(`${name}.wgsl: #if without #endif`);
  return out.join("\n");
}

/** Names of the texts that a text includes, whatever its defines: where a part of one is a define, all that it may be. */
export function includesOf(text: string): string[] {
  return [...text.matchAll(/^\s*#include (\S+)/gm)].flatMap(([, written]) => {
    const name = new RegExp(`^${written.replace(/\$(?:\{\w+\}|[A-Za-z_]\w*)/g, "\\w+")}$`);
    return Object.keys(shaderTexts).filter((other) => name.test(other));
  });
}

function endOfLoop(lines: readonly string[], start: number, file: string): number {
  let depth = 0;
  for (let at = start; at < lines.length; at++) {
    if (/^\s*#for\b/.test(lines[at])) depth++;
    if (/^\s*#endfor\b/.test(lines[at]) && --depth === 0) return at;
  }
  throw new Error(`${file}.wgsl: #for without #endfor`);
}

function substitute(line: string, defines: Defines, file: string): string {
  return line.replace(/\$(?:\{(\w+)\}|([A-Za-z_]\w*))/g, (_, braced: string | undefined, bare: string) => {
    const key = braced ?? bare;
    const value = defines[key];
    if (value === undefined) throw new Error(`${file}.wgsl uses $${key}, which its launcher does not define`);
    return typeof value === "boolean" ? String(Number(value)) : String(value);
  });
}

function holds(condition: string, defines: Defines, file: string): boolean {
  const m = /^(!?)(\w+)(?:\s*(==|!=|>)\s*(\w+))?$/.exec(condition);
  if (!m) throw new Error(`${file}.wgsl: cannot read #if ${condition}`);
  const value = defines[m[2]];
  if (value === undefined) throw new Error(`${file}.wgsl asks for ${m[2]}, which its launcher does not define`);
  if (m[3] === "==") return String(value) === m[4];
  if (m[3] === "!=") return String(value) !== m[4];
  if (m[3] === ">") return Number(value) > Number(m[4]);
  const truth = value !== false && value !== 0 && value !== "";
  return m[1] === "!" ? !truth : truth;
}

const BINDING =
  /@group\(0\)\s*@binding\((\d+)\)\s*var<(uniform|storage)(?:\s*,\s*(read|read_write))?>\s*(\w+)\s*:\s*([^;]+);/g;
const VECTOR = /^(?:vec([234])(?:<(?=.*>$)|(?=[uif]$)))?([uif])(?:32)?>?$/;

/**
 * Reads bindings (group 0) and the layout of the uniform struct bound as `params`. Of WGSL it knows what these shaders declare there;
 * a whole parser takes 5% of a start. A test holds it against one.
 * @throws Error naming the shader where the uniform has another name, or a member that cannot be packed
 */
export function reflectShader(text: string, name: string): ShaderModule {
  const code = text.replace(/\/\/.*$|\/\*[\s\S]*?\*\//gm, "");
  let params: ParamsLayout | null = null;
  const bindings = Array.from(code.matchAll(BINDING), ([, index, space, access, variable, type]): Binding => {
    if (space === "storage") {
      return { name: variable, index: Number(index), type: access === "read_write" ? "storage" : "read-only-storage" };
    }
    if (variable !== "params") throw new Error(`${name}: the uniform must be called params`);
    params = paramsLayout(new RegExp(`\\bstruct\\s+${type.trim()}\\s*\\{([^}]*)\\}`).exec(code)?.[1] ?? "", name);
    return { name: variable, index: Number(index), type: "uniform" };
  });
  return { text, bindings: bindings.sort((a, b) => a.index - b.index), params };
}

/** By the alignment that WGSL gives scalars and vectors of four bytes a component: vec3 takes 12 bytes and begins as vec4 does. */
function paramsLayout(struct: string, name: string): ParamsLayout {
  const members = new Map<string, { offset: number; type: "u32" | "i32" | "f32"; count: number }>();
  let end = 0;
  for (const [, member, spelled] of struct.matchAll(/(\w+)\s*:\s*(\w+(?:\s*<[^>]*>)?)/g)) {
    const m = VECTOR.exec(spelled.replaceAll(/\s/g, ""));
    if (!m) throw new Error(`${name}: params.${member} is ${spelled}; only u32, i32, f32 and their vectors are packed`);
    const count = m[1] ? Number(m[1]) : 1;
    const alignment = count === 3 ? 16 : 4 * count;
    const offset = Math.ceil(end / alignment) * alignment;
    members.set(member, { offset, type: `${m[2] as "u" | "i" | "f"}32`, count });
    end = offset + 4 * count;
  }
  return { size: Math.ceil(end / 16) * 16, members };
}

export type ParamValues = Readonly<Record<string, number | readonly number[]>>;

/** Packs parameter values as the shader's uniform struct lays them out. Throws on a missing, extra or misshapen one. */
export function packParams(layout: ParamsLayout, values: ParamValues, name: string): ArrayBuffer {
  const bytes = new ArrayBuffer(layout.size);
  const view = new DataView(bytes);
  for (const key of Object.keys(values)) {
    if (!layout.members.has(key)) throw new Error(`${name}: the shader's params have no member ${key}`);
  }
  for (const [key, member] of layout.members) {
    const value = values[key];
    if (value === undefined) throw new Error(`${name}: params.${key} was not given`);
    const list = typeof value === "number" ? [value] : value;
    if (list.length !== member.count)
      throw new Error(`${name}: params.${key} takes ${member.count} values, got ${list.length}`);
    list.forEach((v, i) => {
      const at = member.offset + 4 * i;
      if (member.type === "f32") view.setFloat32(at, v, true);
      else if (!Number.isInteger(v)) throw new Error(`${name}: params.${key} must be whole, got ${v}`);
      else if (member.type === "i32") view.setInt32(at, v, true);
      else view.setUint32(at, v, true);
    });
  }
  return bytes;
}

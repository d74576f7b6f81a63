/** What the compilers of two GPUs print of a pipeline, read: registers, spills, and what the main loop is made of. */

export interface Code {
  /** 32-bit registers of an invocation; on AMD those that differ between lanes. */
  readonly registers: number;
  /** Registers that did not fit, and bytes of memory in place of registers. */
  readonly spilled: number;
  readonly scratchBytes: number;
  /** As far as the compiler tells. */
  readonly workgroupBytes: number | null;
  /** Subgroups that registers (on AMD workgroup memory too) leave room for: of a SIMD on AMD, of a multiprocessor on NVIDIA. */
  readonly waves: number;
  readonly instructions: number;
  /** The compiler's own estimate: RADV's inverse throughput, NAK's static cycles. Only for comparing variants of a kernel. */
  readonly cycles: number;
  /** The one with the most multiply-adds, of nested ones the innermost. Null where there is no loop with any. */
  readonly loop: Loop | null;
  readonly text: string;
}

export interface Loop {
  readonly instructions: number;
  /** Multiply-adds of a lane, two in an instruction that makes two; products of matrix units count as one each. */
  readonly multiplyAdds: number;
  readonly matrixProducts: number;
  /** Of the vector unit's issue slots, those for multiply-adds: a multiplication of integers takes four on AMD. */
  readonly share: number;
  readonly workgroupLoads: number;
  readonly workgroupStores: number;
  /** Loads from storage buffers, and those of them of 16 bytes. */
  readonly loads: number;
  readonly wideLoads: number;
  /** Multiply-adds between the last load and the first wait for a load: latency that is hidden. */
  readonly hiddenBy: number;
  readonly waits: number;
  readonly barriers: number;
  /** Instructions of loops around this one that are not in it. */
  readonly around: number;
}

interface Instruction {
  readonly multiplyAdds: number;
  readonly matrixProduct: boolean;
  /** Issue slots of the vector unit. */
  readonly slots: number;
  readonly kind: "workgroup load" | "workgroup store" | "load" | "barrier" | "other";
  readonly wide: boolean;
  readonly waits: boolean;
  /** Whether it waits for what a load under way will write, given that load's tag. */
  readonly waitsForLoad: (tag: string) => boolean;
  readonly tag: string;
}

interface Block {
  readonly instructions: Instruction[];
  /** Indices of blocks that may follow. */
  readonly next: number[];
}

function mainLoop(blocks: readonly Block[]): Loop | null {
  const loops = blocks.flatMap(({ next }, end) =>
    next.filter((start) => start <= end).map((start) => loopOf(blocks, start, end)),
  );
  const bodyOf = (loop: ReadonlySet<number>) => blocks.flatMap((b, i) => (loop.has(i) ? b.instructions : []));
  const adds = (body: readonly Instruction[]) =>
    body.reduce((sum, i) => sum + i.multiplyAdds + Number(i.matrixProduct), 0);
  const [main] = loops
    .map((loop) => ({ loop, body: bodyOf(loop) }))
    .sort((a, b) => adds(b.body) - adds(a.body) || a.body.length - b.body.length);
  if (!main || adds(main.body) === 0) return null;
  const { body } = main;
  const outer = loops.filter((loop) => [...main.loop].every((i) => loop.has(i)));
  const count = (of: (i: Instruction) => boolean) => body.filter(of).length;
  const sum = (of: (i: Instruction) => number) => body.reduce((total, i) => total + of(i), 0);
  const multiplyAdds = sum((i) => i.multiplyAdds);
  const matrixProducts = count((i) => i.matrixProduct);
  const useful = sum((i) => (i.multiplyAdds > 0 || i.matrixProduct ? i.slots : 0));
  return {
    instructions: body.length,
    multiplyAdds,
    matrixProducts,
    share: useful / sum((i) => i.slots),
    workgroupLoads: count((i) => i.kind === "workgroup load"),
    workgroupStores: count((i) => i.kind === "workgroup store"),
    loads: count((i) => i.kind === "load"),
    wideLoads: count((i) => i.kind === "load" && i.wide),
    hiddenBy: hiddenBy(body),
    waits: count((i) => i.waits),
    barriers: count((i) => i.kind === "barrier"),
    around: Math.max(...outer.map((loop) => bodyOf(loop).length)) - body.length,
  };
}

/** The blocks of a loop: those from which its end is reached without passing its start. */
function loopOf(blocks: readonly Block[], start: number, end: number): ReadonlySet<number> {
  const found = new Set([start, end]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    blocks.forEach(({ next }, i) => {
      if (next.some((n) => n !== start && found.has(n))) found.add(i);
    });
  }
  return found;
}

/** Multiply-adds from each load on to the first wait for it, going round the loop at most once; the least of all loads. */
function hiddenBy(body: readonly Instruction[]): number {
  const turns = [...body, ...body];
  const spans = body.flatMap(({ kind, tag }, at) => {
    if (kind !== "load") return [];
    let adds = 0;
    for (const i of turns.slice(at + 1, at + body.length)) {
      if (i.waitsForLoad(tag)) return [adds];
      adds += i.multiplyAdds + Number(i.matrixProduct);
    }
    return [];
  });
  return spans.length > 0 ? Math.min(...spans) : 0;
}

const plain = { multiplyAdds: 0, matrixProduct: false, wide: false, waits: false, waitsForLoad: () => false, tag: "" };

/** RADV's disassembly and statistics (RADV_DEBUG=asm,shaderstats). */
export function radvCode(listing: string): Code {
  const end = listing.lastIndexOf("*** SHADER STATS ***");
  if (end < 0) throw new Error(`RADV printed no statistics: ${listing.slice(0, 500)}`);
  const [, text = ""] = /disasm:\n(.*)$/s.exec(listing.slice(0, end).trimEnd()) ?? [];
  const stats = Object.fromEntries(
    [...listing.slice(end).matchAll(/^([A-Z][\w -]*): (\d+)$/gim)].map(([, name, n]) => [
      name.toLowerCase(),
      Number(n),
    ]),
  );
  const lines = text.split("\n");
  const names = lines.filter((line) => /^BB\d+:/.test(line)).map((line) => line.slice(0, line.indexOf(":")));
  const blocks: Block[] = names.map(() => ({ instructions: [], next: [] }));
  const leaves = new Set<number>();
  let block = -1;
  for (const line of lines) {
    if (/^BB\d+:/.test(line)) block++;
    const [, op, rest] = /^\t(\w+)([^;]*)/.exec(line) ?? [];
    if (op === undefined || block < 0) continue;
    blocks[block].instructions.push(radvInstruction(op, rest));
    const [, target] = /branch\w* (BB\d+)/.exec(`${op}${rest}`) ?? [];
    if (target !== undefined) blocks[block].next.push(names.indexOf(target));
    if (op === "s_branch" || op === "s_endpgm") leaves.add(block);
  }
  blocks.forEach(({ next }, i) => {
    if (!leaves.has(i) && i + 1 < blocks.length) next.push(i + 1);
  });
  return {
    registers: stats.vgprs,
    spilled: stats["spilled vgprs"] + stats["spilled sgprs"],
    scratchBytes: stats["scratch size"],
    workgroupBytes: stats["lds size"],
    waves: stats["subgroups per simd"],
    instructions: stats.instructions,
    cycles: stats["inverse throughput"],
    loop: mainLoop(blocks),
    text,
  };
}

function radvInstruction(op: string, rest: string): Instruction {
  // Loads come back in order, so that a wait for any of them begins where they are first looked at.
  const waitsForLoad = () => (op === "s_waitcnt" && /vmcnt/.test(rest)) || op === "s_wait_loadcnt";
  return {
    ...plain,
    multiplyAdds:
      [...`${op}${rest}`.matchAll(/v_(dual_|pk_)?(fma|mad)(c|ak|mk|_mix\w*)?_(f|legacy)/g)].length *
      (op.startsWith("v_pk_") ? 2 : 1),
    matrixProduct: /^v_s?wmma/.test(op),
    slots: !op.startsWith("v_") ? 0 : /^v_(mul_(lo|hi)_|mad_u64|mad_i64|rcp|rsq|sqrt|exp|log)/.test(op) ? 4 : 1,
    kind: /^ds_(load|read)/.test(op)
      ? "workgroup load"
      : /^ds_(store|write)/.test(op)
        ? "workgroup store"
        : /^(buffer|global)_load/.test(op)
          ? "load"
          : op.startsWith("s_barrier")
            ? "barrier"
            : "other",
    wide: /b128|dwordx4/.test(op),
    waits: /^s_wait(cnt$|_)/.test(op),
    waitsForLoad,
  };
}

/** NAK's last listing before encoding (NAK_DEBUG=print), with the cycles and barriers that it planned. */
export function nakCode(listing: string): Code {
  const at = listing.lastIndexOf("NAK IR after calc_instr_deps:\n");
  if (at < 0) throw new Error(`NAK printed no machine code: ${listing.slice(0, 500)}`);
  const text = listing.slice(at, listing.indexOf("\nStage:", at)).trimEnd();
  const stat = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, "m").exec(listing.slice(at))?.[1] ?? 0);
  const blocks: Block[] = [];
  for (const line of text.split("\n")) {
    if (/^block/.test(line)) blocks.push({ instructions: [], next: [] });
    const [, next] = /^\} -> \[(.*)\]/.exec(line) ?? [];
    if (next) blocks.at(-1)!.next.push(...next.split(", ").map(Number));
    const [, body, notes] = /^\s*(?:@!?\w+\s+)?(.*?)\s*\/\/ (delay=.*)$/.exec(line) ?? [];
    if (body !== undefined) blocks.at(-1)!.instructions.push(nakInstruction(body.split("= ").at(-1)!, notes));
  }
  return {
    registers: stat("Num GPRs"),
    spilled: stat("Spills to mem") + stat("Spills to reg"),
    scratchBytes: stat("SLM size"),
    workgroupBytes: null,
    waves: stat("Max warps/SM"),
    instructions: stat("Instruction count"),
    cycles: stat("Static cycle count"),
    loop: mainLoop(blocks),
    text,
  };
}

function nakInstruction(op: string, notes: string): Instruction {
  const waited = /wt=([01]+)/.exec(notes)?.[1] ?? "";
  const load = /^ld\.(global|const)/.test(op);
  return {
    ...plain,
    multiplyAdds: /^ffma/.test(op) ? 1 : /^hfma2/.test(op) ? 2 : 0,
    matrixProduct: /^hmma/.test(op),
    slots: 1,
    kind: /^(ld\.shared|ldsm)/.test(op)
      ? "workgroup load"
      : /^st\.shared/.test(op)
        ? "workgroup store"
        : load
          ? "load"
          : /^bar/.test(op)
            ? "barrier"
            : "other",
    wide: /b128/.test(op),
    waits: waited !== "",
    // Barriers are numbered from the right.
    waitsForLoad: (tag) => waited.at(-1 - Number(tag)) === "1",
    tag: /wr:(\d)/.exec(notes)?.[1] ?? "9",
  };
}

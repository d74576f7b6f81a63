/** What a GPU's own compiler makes of the kernels for GPUs, by RADV on a device that is not there; and how listings are read. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { KernelCache, type KernelSpec } from "#src/gpu/kernel.js";
import { presetModel } from "#src/training/load-config.js";
import { type Compiled, compileAll } from "../../bench/machine-code/compile.js";
import { NoCompiler, radv } from "../../bench/machine-code/compilers.js";
import { nakCode, radvCode } from "../../bench/machine-code/listing.js";
import { describeSpec, usedKernels, VENDORS, type Vendor, vendorProfile } from "../../bench/machine-code/programs.js";
import { gpuKernelSpecs } from "../support/variants.js";

const RADV = `Compute Shader
disasm:
BB0:
	v_mov_b32_e32 v1, 0                                         ; 7e020280
BB1:
	s_cmp_ge_u32 s5, s21                                        ; bf091505
	s_cbranch_scc1 BB3                                          ; bfa202ec
BB2:
	buffer_load_b128 v[20:23], v13, s[28:31], 0 offen           ; e05c0000 8047140d
	global_load_b32 v24, v13, s[28:29]                          ; dc520000
	v_mul_lo_u32 v13, v13, s35                                  ; d72c000d 0000470d
	ds_load_b128 v[92:95], v90 offset:6144                      ; dbfc1800 5c00005a
	s_waitcnt lgkmcnt(0)                                        ; bf89fc07
	v_fmac_f32_e32 v1, v2, v3                                   ; 56020702
	v_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v4, v5, v6    ; c8000000
	s_waitcnt vmcnt(1)                                          ; bf8907f7
	v_fma_f32 v1, v2, v3, v1                                    ; d6130001
	ds_store_b128 v91, v[92:95]                                 ; db7c0000 00005c5b
	s_barrier                                                   ; bfbd0000
	s_branch BB1                                                ; bfa0fd11
BB3:
	v_fma_f32 v1, v2, v3, v1                                    ; d6130001
	s_endpgm                                                    ; bfb00000

*** SHADER STATS ***
Driver pipeline hash: 14965111975609334884
VGPRs: 156
Spilled SGPRs: 1
Spilled VGPRs: 2
LDS size: 8192
Scratch size: 16
Subgroups per SIMD: 8
Instructions: 2059
Inverse Throughput: 6227
********************
`;

test("RADV's listings: what the loop is made of, and what a load is hidden by", () => {
  const { loop, text, ...figures } = radvCode(RADV);
  assert.equal(figures, {
    registers: 156,
    spilled: 3,
    scratchBytes: 16,
    workgroupBytes: 8192,
    waves: 8,
    instructions: 2059,
    cycles: 6227,
  });
  assert.ok(text.startsWith("BB0:") && text.endsWith("bfb00000"));
  assert.equal(loop, {
    instructions: 14,
    multiplyAdds: 4,
    matrixProducts: 0,
    // A multiplication of integers takes the slots of four.
    share: 3 / 7,
    workgroupLoads: 1,
    workgroupStores: 1,
    loads: 2,
    wideLoads: 1,
    hiddenBy: 3,
    waits: 2,
    barriers: 1,
    around: 0,
  });
});

const NAK = `NAK IR after legalize:
nothing
NAK IR after calc_instr_deps:
block.u 0 L0 [] -> {
      r1        = mov rZ                                            // delay=1
} -> [1]
block.u 1 L1 [0, 2] -> {
      r2..6     = ld.global.a64.constant.b128 [r8..10], pT          // delay=2 rd:0 wr:1
      r12..16   = ld.shared.strong.cta.b128 [r0.x16+0x1800], pT     // delay=1 wr:2
      r1        = ffma.ftz r12 r13 r1                               // delay=4 wt=000100
@!p0              bra pT L3                                         // delay=1
} -> [2, 3]
block.u 2 L2 [1] -> {
      r1        = ffma.ftz r2 r13 r1                                // delay=1 wt=000010
                  st.shared.strong.cta.b128 [r5.x16] r12..16        // delay=1 rd:0
                  bar.sync                                          // delay=6 yld
                  bra pT L1                                         // delay=1
} -> [1]
block.u 3 L3 [1] -> {
      r1        = ffma.ftz r2 r13 r1                                // delay=1
} -> []

Stage: compute
Instruction count: 11
Static cycle count: 90
Max warps/SM: 16
Spills to mem: 0
Spills to reg: 2
Num GPRs: 128
SLM size: 0
`;

test("NAK's listings: the same, by the barriers that it planned", () => {
  const { loop, text, ...figures } = nakCode(NAK);
  assert.equal(figures, {
    registers: 128,
    spilled: 2,
    scratchBytes: 0,
    workgroupBytes: null,
    waves: 16,
    instructions: 11,
    cycles: 90,
  });
  assert.ok(text.includes("ld.global") && !text.includes("Stage"));
  assert.equal(loop, {
    instructions: 8,
    multiplyAdds: 2,
    matrixProducts: 0,
    share: 2 / 8,
    workgroupLoads: 1,
    workgroupStores: 1,
    loads: 1,
    wideLoads: 1,
    hiddenBy: 1,
    waits: 2,
    barriers: 1,
    around: 0,
  });
});

test("the kernels of a vendor's programs, with all of the work", () => {
  const config = presetModel("small", { model: "mpn", channelAttention: false });
  const cases = (["infer", "train"] as const).map(
    (mode) => ({ mode, batch: 4, precision: "float32", matrixUnits: false }) as const,
  );
  for (const vendor of VENDORS) {
    const kernels = [...usedKernels(vendorProfile(vendor), config, cases).values()];
    assert.ok(
      kernels.some(({ spec }) => /^conv_weight_grad_tiled .* LX=/.test(describeSpec(spec))),
      vendor,
    );
    for (const program of ["infer 4 float32", "train 4 float32"])
      for (const of of ["flops", "bytes"] as const) {
        const uses = kernels.flatMap((kernel) => kernel.uses.filter((use) => use.program === program));
        const all = uses.reduce((sum, use) => sum + use[of], 0);
        assert.ok(Math.abs(all - 1) < 1e-9, `${vendor}, ${program}: ${of} add up to ${all}`);
      }
  }
});

test("an inference of one image splits the sums of products; programs that fill a GPU split none", () => {
  const config = presetModel("paper", { model: "mpn", channelAttention: false, imageSize: [384, 128] });
  const splits = (vendor: Vendor, mode: "infer" | "train", batch: number) => {
    const cases = (["float32", "float16"] as const).flatMap((precision) =>
      [false, true].map((matrixUnits) => ({ mode, batch, precision, matrixUnits })),
    );
    const kernels = usedKernels(vendorProfile(vendor), config, cases);
    const finishing = [...kernels.values()].filter(({ spec }) => spec.shader === "conv_parts");
    return [...new Set(finishing.flatMap(({ uses }) => uses.map(({ program }) => program)))].sort();
  };
  for (const vendor of VENDORS) {
    assert.equal(
      splits(vendor, "infer", 1),
      ["infer 1 float16", "infer 1 float16 units", "infer 1 float32", "infer 1 float32 units"],
      vendor,
    );
    assert.equal(splits(vendor, "infer", 32), [], vendor);
    assert.equal(splits(vendor, "train", 48), [], vendor);
  }
});

/**
 * What a GPU would be given: the kernels of a small network's programs by each vendor's ladder but NVIDIA's, which follows measurements on
 * its own, and every variant of the shaders that have no ladder.
 */
function givenSpecs(): KernelSpec[] {
  const config = presetModel("small", { model: "mpn", channelAttention: false, imageSize: [384, 128] });
  const cases = (["float32", "float16"] as const).flatMap((precision) => [
    { mode: "infer", batch: 32, precision, matrixUnits: false } as const,
    { mode: "infer", batch: 1, precision, matrixUnits: false } as const,
    { mode: "train", batch: 48, precision, matrixUnits: true } as const,
    { mode: "train", batch: 48, precision, matrixUnits: false } as const,
  ]);
  const specs = new Map<string, KernelSpec>();
  for (const vendor of VENDORS.filter((name) => name !== "nvidia")) {
    const profile = vendorProfile(vendor);
    for (const [key, { spec }] of usedKernels(profile, config, cases)) specs.set(key, spec);
  }
  for (const spec of gpuKernelSpecs())
    if (!/^conv_(weight_grad_)?(tiled|matrix|wide)$/.test(spec.shader)) specs.set(KernelCache.key(spec), spec);
  return [...specs.values()];
}

/** Compiled in a process of their own, or why that cannot be done here. */
const found: Compiled[] | string = await (async () => {
  try {
    return (await compileAll(radv("navi31"), givenSpecs())).compiled;
  } catch (error) {
    if (!(error instanceof NoCompiler)) throw error;
    const reason = `no kernel was compiled to a GPU's machine code: ${error.message.replaceAll("\n", " ")}`;
    console.log(`skipped: ${reason}`);
    return reason;
  }
})();
const onGpu = (name: string, check: (compiled: readonly Compiled[]) => void) =>
  typeof found === "string" ? test.skip(name, () => {}) : test(name, () => check(found));
const codeOf = ({ spec, code }: Compiled) => {
  if (typeof code === "string") throw new Error(`${describeSpec(spec)}: ${code}`);
  return code;
};

onGpu("on RDNA 3 all registers of every kernel for GPUs fit", (compiled) => {
  const spilled = compiled.filter((c) => codeOf(c).spilled > 0 || codeOf(c).scratchBytes > 0);
  assert.equal(
    spilled.map(({ spec }) => describeSpec(spec)),
    [],
  );
});

onGpu("on RDNA 3 products hide the loads of the next slice, where those are vectors", (compiled) => {
  const waiting = compiled.filter((c) => {
    const { shader, defines = {} } = c.spec;
    const vectors = /^conv_(weight_grad_)?tiled$/.test(shader) && defines.AELEM === 4 && defines.ELEM === 4;
    return vectors && defines.PREFETCH === 1 && codeOf(c).loop?.hiddenBy === 0;
  });
  assert.equal(
    waiting.map(({ spec }) => describeSpec(spec)),
    [],
  );
});

test.run();

// What conv_wide.wgsl and conv_weight_grad_wide.wgsl share: SY by SX subgroups of LANES make a tile of outputs, RM by CN matrices of MM x MN
// each, on matrix units of f16 (chromium-experimental-subgroup-matrix). KT terms of the sum at a time are staged, eight halves to an
// element, in the order in which they lie in memory: a as [row][term] (a weight gradient's as [term][row]), b as [term][column] (TURNED:
// [column][term]). Units that turn what they load (NVIDIA's) find either as fast, and an element of 16 bytes is what lets a driver load
// whole rows of a matrix at once. One element of padding a row puts eight rows into different banks. Sums cannot be looked into: they leave through
// the same memory.
enable subgroups;
enable chromium_experimental_subgroup_matrix;
#if ASKED
enable subgroup_size_control;
#endif
#include elem

override KT: u32 = 32;
override THREADS: u32 = 128;
/** Elements of `tile`: those of a slice, or of all that leaves through it at a time. */
override SLOTS: u32 = 1024;
const TILE_ROWS = ${SY}u * ${RM}u * ${MM}u;
const TILE_COLS = ${SX}u * ${CN}u * ${MN}u;
#if WEIGHT_GRAD
const A_ROW = TILE_ROWS / 8u + 1u;
override B_AT: u32 = KT * A_ROW;
#else
override A_ROW: u32 = KT / 8u + 1u;
override B_AT: u32 = TILE_ROWS * A_ROW;
#endif
#if TURNED
override B_ROW: u32 = KT / 8u + 1u;
#else
const B_ROW = TILE_COLS / 8u + 1u;
#endif
/** Rows of matrices leave one at a time, the eights of one by LANES / ROW_LANES * ROW_LANES lanes. */
const ROW_LANES = ${CN}u * ${MN}u / 8u;
const ROWS_APART = ${LANES}u / ROW_LANES;
const PART_ROW = ${CN}u * ${MN}u / 4u + 1u;
const PART = ${MM}u * PART_ROW;
var<workgroup> tile: array<vec4<u32>, SLOTS>;

fn halves(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(bitcast<vec2<u32>>(vec4<f16>(low)), bitcast<vec2<u32>>(vec4<f16>(high)));
}
/** The first and the last four of eight halves. */
fn low_of(v: vec4<u32>) -> vec4<f32> { return vec4<f32>(bitcast<vec4<f16>>(v.xy)); }
fn high_of(v: vec4<u32>) -> vec4<f32> { return vec4<f32>(bitcast<vec4<f16>>(v.zw)); }

/** Eight neighbours as they lie in memory. */
struct Floats { low: vec4<f32>, high: vec4<f32> }

// What the kernels on matrix units share (chromium-experimental-subgroup-matrix): SY by SX subgroups of LANES make a tile of
// outputs, RM by RG * CN matrices of MM x MN each. KT terms of the sum at a time are staged, both operands as [row or column of the
// tile][term], so that whatever a lane wants of a matrix lies side by side: units take their left operand by rows and their right
// one by columns, and a load against that grain takes a load an element (compiled for RDNA 3 it did). 8 elements of padding put
// eight rows into different banks. Sums cannot be looked into: they leave through tile_c, CN matrices of each subgroup at a time.
enable subgroups;
enable chromium_experimental_subgroup_matrix;
#if ASKED
enable subgroup_size_control;
#endif

override THREADS: u32 = 128;
override SLICE_ROW: u32 = KT / 4u + 2u;
const TILE_ROWS = ${SY}u * ${RM}u * ${MM}u;
const TILE_COLS = ${SX}u * ${RG}u * ${CN}u * ${MN}u;
const PART_ROW = ${CN}u * ${MN}u / 4u + 2u;
const PART = ${MM}u * PART_ROW;
var<workgroup> tile_a: array<Staged, TILE_ROWS * SLICE_ROW>;
var<workgroup> tile_b: array<Staged, TILE_COLS * SLICE_ROW>;
var<workgroup> tile_c: array<vec4<f32>, ${SY}u * ${SX}u * PART>;

/** Four neighbours of an operand as they are multiplied; LoadedA and LoadedB are such as they lie in memory. */
alias Staged = vec4<${E}>;

fn kept(v: LoadedA, inside: bool) -> Staged { return select(Staged(), Staged(v), inside); }

// Four columns of the operand that lies by columns: vec4 number `column` of the row that starts at b[start]. Those past the last
// repeat it; they are not stored. Wants params.cols, in T.
fn columns(start: u32, column: u32) -> LoadedB {
  #if ELEM == 4
  return b[start + min(column, params.cols - 1u)];
  #else
  var v: LoadedB;
  #for C in 4
  v[$C] = b[start + min(4u * column + ${C}u, params.cols - 1u)];
  #endfor
  return v;
  #endif
}

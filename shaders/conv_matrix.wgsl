// conv_tiled.wgsl on matrix units (chromium-experimental-subgroup-matrix): same product, rows, columns and parameters, but
// operands are rounded to E (f16, or f32 where the adapter multiplies that); sums are f32. Only where it is asked for.
// Four subgroups make 64 x 64 outputs, a quarter each as matrices of MM x MN. KT terms at a time are staged as tile_a [row][KT] and
// tile_b [KT][column], 8 elements of padding a row. Matrices cannot be looked into: they leave through tile_c, one of each subgroup
// at a time, where the epilogue and the checks of bounds take place.
// Tile: LY * TM = 64 rows by LX * TV vec4 = 64 columns. FLOPs: 2 * rows * cols * taps * inner. Bytes: 4 (|a| + |b| + |c|).
enable subgroups;
enable chromium_experimental_subgroup_matrix;
#if E == f16
enable f16;
#endif
#include tiled_product

override A_ROW: u32 = KT + 8u;
const B_ROW = 72u;
const MATRIX = ${MM}u * ${MN}u;
var<workgroup> tile_a: array<${E}, 64u * A_ROW>;
var<workgroup> tile_b: array<${E}, KT * B_ROW>;
var<workgroup> tile_c: array<f32, 4u * MATRIX>;

@compute @workgroup_size(LX * LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) quarter: u32, @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32) {
  #include tiled_staging
  let quarter_row = (quarter / 2u) * 32u;
  let quarter_col = (quarter % 2u) * 32u;

  #for I in RM
  #for J in RN
  var c${I}_${J} = subgroup_matrix_result<f32, ${MN}, ${MM}>();
  #endfor
  #endfor

  let slices = (params.inner * ${AELEM}u + KT - 1u) / KT;
  let steps = params.tapsY * params.tapsX * slices;
  var ty = 0u;
  var tx = 0u;
  var slice = 0u;
  for (var step = 0u; step < steps; step++) {
    #include tiled_load
    #for I in AL
    #for C in 4
    tile_a[a_row$I * A_ROW + 4u * a_vector + ${C}u] = ${E}(a$I[$C]);
    #endfor
    #endfor
    #for I in BL
    #for C in 4
    tile_b[(b_term + ${I}u * (LY / ${TV}u)) * B_ROW + 4u * b_col + ${C}u] = ${E}(b$I[$C]);
    #endfor
    #endfor
    slice++;
    if (slice == slices) { slice = 0u; tx++; }
    if (tx == params.tapsX) { tx = 0u; ty++; }
    workgroupBarrier();
    for (var k = 0u; k < KT; k += ${MK}u) {
      #for J in RN
      let right$J = subgroupMatrixLoad<subgroup_matrix_right<${E}, ${MN}, ${MK}>, row_major>(&tile_b, k * B_ROW + quarter_col + ${J}u * ${MN}u, B_ROW);
      #endfor
      #for I in RM
      let left$I = subgroupMatrixLoad<subgroup_matrix_left<${E}, ${MK}, ${MM}>, row_major>(&tile_a, (quarter_row + ${I}u * ${MM}u) * A_ROW + k, A_ROW);
      #for J in RN
      c${I}_$J = subgroupMatrixMultiplyAccumulate(left$I, right$J, c${I}_$J);
      #endfor
      #endfor
    }
    workgroupBarrier();
  }

  #for I in RM
  #for J in RN
  subgroupMatrixStore<row_major>(&tile_c, quarter * MATRIX, c${I}_$J, ${MN}u);
  workgroupBarrier();
  for (var e = lane; e < MATRIX / 4u; e += lanes) {
    let row = row0 + quarter_row + ${I}u * ${MM}u + e / (${MN}u / 4u);
    let column = col0 + (quarter_col + ${J}u * ${MN}u) / 4u + e % (${MN}u / 4u);
    let at = quarter * MATRIX + 4u * e;
    let sum = vec4<f32>(tile_c[at], tile_c[at + 1u], tile_c[at + 2u], tile_c[at + 3u]);
    if (row < params.rows) { store_columns(place_of(row, group), group, column, sum); }
  }
  workgroupBarrier();
  #endfor
  #endfor
}

// conv.wgsl for GPUs, with workgroup memory: same product, rows, columns and parameters.
// A workgroup makes LY * TM rows by LX * TV columns of vec4, an invocation TM x TV of them, LY rows and LX columns apart. KT terms
// of the sum at a time are staged: tile_a [row][KT / 4] as vec4 along the sum, one vec4 of padding a row, so that rows start in
// different banks; tile_b [KT][column] as vec4 along columns. With PREFETCH the next slice is loaded into registers while this one
// is multiplied; with BUFFERS = 2 it is stored beside this one, and one barrier a slice is enough. No branch asks whether there is a next
// slice, as what a branch may load is copied, and waited for, before the products: the last turn takes the first slice, for nobody.
// POINTWISE: rows of a and of c follow each other in memory (1 x 1, stride 1), and no pixel is ever computed. WHOLE: slices end where
// taps do.
// MOMENTS: the type in which c is stored, where moments of its columns are left too (tiled_moments.wgsl); ELEM is 4.
// SPLIT: several workgroups share the sums of a tile (sum_range.wgsl), and c has a place for each part, for conv_parts.wgsl.
// SUM = s: the products of a slice are summed by themselves before they join the sum (see BLOCK in conv.wgsl).
// Tile: LY * TM rows by LX * TV columns of vec4. FLOPs: 2 * rows * cols * taps * inner. Bytes at least: 4 (|a| + |b| + |c|).
#include tiled_product

override LX: u32 = 8;
override LY: u32 = 8;
override BUFFERS: u32 = 1;
override STRIDE: u32 = KT / 4u + 1u;
var<workgroup> tile_a: array<vec4<f32>, BUFFERS * LY * ${TM}u * STRIDE>;
var<workgroup> tile_b: array<vec4<f32>, BUFFERS * KT * LX * ${TV}u>;

/** Four terms, number `4 * k` and on, as they are summed: zeros outside of the picture and past the last one. */
fn summed(terms: vec4<f32>, k: u32, inside: bool) -> vec4<f32> {
  #if WHOLE
  return select(vec4<f32>(), terms, inside);
  #else
  #if AELEM == 4
  return select(vec4<f32>(), terms, inside & (k < params.inner));
  #else
  return select(vec4<f32>(), terms, vec4<bool>(inside) & (4u * k + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.inner)));
  #endif
  #endif
}

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let thread = lane.y * LX + lane.x;
  let tile = workgroup_number(id, count);
  #if SPLIT
  let group = id.z % params.groups;
  #else
  let group = id.z;
  #endif
  let row0 = (tile / params.colTiles) * (LY * ${TM}u);
  let col0 = (tile % params.colTiles) * (LX * ${TV}u);
  #include tiled_source

  #for I in TM
  #for J in TV
  var c${I}_${J} = vec4<f32>();
  #endfor
  #endfor

  #include sum_range
  if (steps > 0u) {
    let buffer = 0u;
    #include tiled_registers
    #include tiled_ahead
    #include tiled_stage
  }
  workgroupBarrier();
  for (var step = 0u; step < steps; step++) {
    let a_tile = step % BUFFERS * (LY * ${TM}u * STRIDE);
    let b_tile = step % BUFFERS * (KT * LX * ${TV}u);
    #include tiled_registers
    #if PREFETCH
    #include tiled_ahead
    #endif
    #if SUM == s
    #for I in TM
    #for J in TV
    var s${I}_${J} = vec4<f32>();
    #endfor
    #endfor
    #endif
    for (var k = 0u; k < KT / 4u; k++) {
      #for C in 4
      #for J in TV
      let b${C}_$J = tile_b[b_tile + (4u * k + ${C}u) * (LX * ${TV}u) + ${J}u * LX + lane.x];
      #endfor
      #endfor
      #for I in TM
      let v$I = tile_a[a_tile + (${I}u * LY + lane.y) * STRIDE + k];
      #for C in 4
      #for J in TV
      ${SUM}${I}_$J = fma(vec4<f32>(v$I[$C]), b${C}_$J, ${SUM}${I}_$J);
      #endfor
      #endfor
      #endfor
    }
    #if SUM == s
    #for I in TM
    #for J in TV
    c${I}_$J += s${I}_$J;
    #endfor
    #endfor
    #endif
    if (BUFFERS == 1u) { workgroupBarrier(); }
    let buffer = (step + 1u) % BUFFERS;
    #if !PREFETCH
    #include tiled_ahead
    #endif
    #include tiled_stage
    workgroupBarrier();
  }

  #include tiled_finish
  #if MOMENTS
  #include tiled_moments
  #endif
}

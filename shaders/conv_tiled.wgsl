// conv.wgsl for GPUs, with workgroup memory: same product, rows, columns and parameters.
// A workgroup makes LY * TM rows by LX * TV columns of vec4, an invocation TM x TV of them, LY rows and LX columns apart. KT terms
// of the sum at a time are staged: tile_a [row][KT / 4] as vec4 along the sum, one vec4 of padding a row, so that rows start in
// different banks; tile_b [KT][column] as vec4 along columns. With PREFETCH the next slice is loaded into registers while this one
// is multiplied; with BUFFERS = 2 it is stored beside this one, and one barrier a slice is enough.
// POINTWISE: rows of a and of c follow each other in memory (1 x 1, stride 1), and no pixel is ever computed.
// SUM = s: the products of a slice are summed by themselves before they join the sum (see BLOCK in conv.wgsl).
// Tile: LY * TM rows by LX * TV columns of vec4. FLOPs: 2 * rows * cols * taps * inner. Bytes at least: 4 (|a| + |b| + |c|).
#include tiled_product

override LX: u32 = 8;
override LY: u32 = 8;
override BUFFERS: u32 = 1;
override THREADS: u32 = LX * LY;
override STRIDE: u32 = KT / 4u + 1u;
var<workgroup> tile_a: array<vec4<f32>, BUFFERS * LY * ${TM}u * STRIDE>;
var<workgroup> tile_b: array<vec4<f32>, BUFFERS * KT * LX * ${TV}u>;

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let thread = lane.y * LX + lane.x;
  #include tiled_staging

  #for I in TM
  #for J in TV
  var c${I}_${J} = vec4<f32>();
  #endfor
  #endfor

  let slices = (params.inner * ${AELEM}u + KT - 1u) / KT;
  let steps = params.tapsY * params.tapsX * slices;
  var ty = 0u;
  var tx = 0u;
  var slice = 0u;
  #if PREFETCH
  if (steps > 0u) {
    #include tiled_load
  }
  #endif
  for (var step = 0u; step < steps; step++) {
    #if !PREFETCH
    #include tiled_load
    #endif
    let buffer = step % BUFFERS;
    let a_tile = buffer * (LY * ${TM}u * STRIDE);
    let b_tile = buffer * (KT * LX * ${TV}u);
    #for I in AL
    tile_a[a_tile + a_row$I * STRIDE + a_vector] = kept(a$I, inside$I);
    #endfor
    #for I in BL
    tile_b[b_tile + (b_term + ${I}u * (LY / ${TV}u)) * (LX * ${TV}u) + b_col] = b$I;
    #endfor
    slice++;
    if (slice == slices) { slice = 0u; tx++; }
    if (tx == params.tapsX) { tx = 0u; ty++; }
    workgroupBarrier();
    #if PREFETCH
    if (step + 1u < steps) {
      #include tiled_load
    }
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
  }

  #for I in TM
  {
    let row = row0 + ${I}u * LY + lane.y;
    if (row < params.rows) {
      let out = place_of(row, group);
      #for J in TV
      store_columns(out, group, col0 + ${J}u * LX + lane.x, c${I}_$J);
      #endfor
    }
  }
  #endfor
}

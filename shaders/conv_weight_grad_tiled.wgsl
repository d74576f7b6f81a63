// conv_weight_grad.wgsl for GPUs, with workgroup memory (see conv_tiled.wgsl): one product of all taps,
//   dw[split, row, col] = sum over the split's output pixels of x[source(pixel, tap) * channels + i] * dy[pixel, col]
// where row = tap * inner + i. Both operands lie along the tile's sides, so tile_a is [KT][row] as vec4 and tile_b [KT][column]; an
// invocation makes TQ vec4 of rows (LY apart) by TV columns of vec4 (LX apart). Its pixels are KT apart from slice to slice:
// `advance` is that distance in images, rows and columns. POINTWISE: pixels follow each other in x as they do in dy. WHOLE: splits end
// where slices do.
// Tile: LY * TQ vec4 of rows by LX * TV columns of vec4; grid z = group * splits + split. FLOPs: 2 * rows * cols * pixels.
// Bytes at least: 4 (|x| + |dy| + splits * |dw|).
#include tiled_weight_grad_product

override LX: u32 = 8;
override LY: u32 = 8;
override BUFFERS: u32 = 1;
override ROWS: u32 = LY * ${TQ}u;
var<workgroup> tile_a: array<vec4<f32>, BUFFERS * KT * ROWS>;
var<workgroup> tile_b: array<vec4<f32>, BUFFERS * KT * LX * ${TV}u>;

/** Whether four rows, together or each by itself, take what a pixel has. */
#if AELEM == 4
alias Kept = bool;
#else
alias Kept = vec4<bool>;
#endif

#include weight_grad_source

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let tile = workgroup_number(id, count);
  let group = id.z / params.splits;
  let split = id.z % params.splits;
  let first_row = (tile / params.colTiles) * ROWS;
  let col0 = (tile % params.colTiles) * (LX * ${TV}u);
  let thread = lane.y * LX + lane.x;
  let first = split * params.pixelsPerSplit;
  let end = min(first + params.pixelsPerSplit, params.pixels);

  // What this invocation stages: one vec4 of rows of AL pixels, one of columns of BL pixels.
  let a_vector = thread % ROWS;
  #if AELEM == 4
  let row_of = row_at(4u * (first_row + a_vector), group);
  #else
  #for C in 4
  let row_of$C = row_at(4u * (first_row + a_vector) + ${C}u, group);
  #endfor
  #endif
  #for I in AL
  let a_pixel$I = thread / ROWS + ${I}u * (LX * LY / ROWS);
  #if !POINTWISE
  var source$I = source_of(first + a_pixel$I);
  #endif
  #endfor
  let b_vector = thread % (LX * ${TV}u);
  let b_pixel = thread / (LX * ${TV}u);
  #if ELEM == 4
  let b_column = group * params.dGroup + min(col0 + b_vector, params.cols - 1u);
  #else
  let b_column = 4u * (col0 + b_vector);
  #endif
  let b_own = b_pixel * params.dPixel;

  #for Q in TQ
  #for C in 4
  #for J in TV
  var c${Q}_${C}_${J} = vec4<f32>();
  #endfor
  #endfor
  #endfor

  let steps = (end - first + KT - 1u) / KT;
  var at = first;
  if (steps > 0u) {
    let buffer = 0u;
    #include tiled_weight_grad_registers
    #include tiled_weight_grad_ahead
    #include tiled_weight_grad_stage
  }
  workgroupBarrier();
  for (var step = 0u; step < steps; step++) {
    let a_tile = step % BUFFERS * (KT * ROWS);
    let b_tile = step % BUFFERS * (KT * LX * ${TV}u);
    #include tiled_weight_grad_registers
    #if PREFETCH
    #include tiled_weight_grad_ahead
    #endif
    #if SUM == s
    #for Q in TQ
    #for C in 4
    #for J in TV
    var s${Q}_${C}_${J} = vec4<f32>();
    #endfor
    #endfor
    #endfor
    #endif
    for (var k = 0u; k < KT; k += 4u) {
      #for D in 4
      #for J in TV
      let b${D}_$J = tile_b[b_tile + (k + ${D}u) * (LX * ${TV}u) + ${J}u * LX + lane.x];
      #endfor
      #for Q in TQ
      let v${D}_$Q = tile_a[a_tile + (k + ${D}u) * ROWS + ${Q}u * LY + lane.y];
      #for C in 4
      #for J in TV
      ${SUM}${Q}_${C}_$J = fma(vec4<f32>(v${D}_$Q[$C]), b${D}_$J, ${SUM}${Q}_${C}_$J);
      #endfor
      #endfor
      #endfor
      #endfor
    }
    #if SUM == s
    #for Q in TQ
    #for C in 4
    #for J in TV
    c${Q}_${C}_$J += s${Q}_${C}_$J;
    #endfor
    #endfor
    #endfor
    #endif
    if (BUFFERS == 1u) { workgroupBarrier(); }
    let buffer = (step + 1u) % BUFFERS;
    #if !PREFETCH
    #include tiled_weight_grad_ahead
    #endif
    #include tiled_weight_grad_stage
    workgroupBarrier();
  }

  let out = split * params.wSplit + group * params.wGroup;
  #for Q in TQ
  #for C in 4
  {
    let to = 4u * (first_row + ${Q}u * LY + lane.y) + ${C}u;
    if (to < params.rows) {
      #for J in TV
      store_row(out, to, col0 + ${J}u * LX + lane.x, c${Q}_${C}_$J);
      #endfor
    }
  }
  #endfor
  #endfor
}

// conv.wgsl for GPUs, with workgroup memory: same product, rows, columns and parameters.
// A workgroup makes LY * TM rows by LX * TV columns of vec4, an invocation TM x TV of them, LY rows and LX columns apart. KT terms
// of the sum at a time are staged: tile_a [row][KT / 4] as vec4 along the sum, one vec4 of padding a row, so that rows start in
// different banks; tile_b [KT][column] as vec4 along columns. With PREFETCH the next slice is loaded into registers while this one
// is multiplied; with BUFFERS = 2 it is stored beside this one, and one barrier a slice is enough.
// POINTWISE: rows of a and of c follow each other in memory (1 x 1, stride 1), and no pixel is ever computed.
// SUM = s: the products of a slice are summed by themselves before they join the sum (see BLOCK in conv.wgsl).
// Tile: LY * TM rows by LX * TV columns of vec4. FLOPs: 2 * rows * cols * taps * inner. Bytes at least: 4 (|a| + |b| + |c|).
#include tiled_operands

struct Params {
  rows: u32,          // output pixels of one group: images * outH * outW
  cols: u32,          // output channels of one group, in T
  colTiles: u32,
  inner: u32,         // contiguous elements of a under one tap, in A
  tapsY: u32, tapsX: u32,   // none: c becomes 0
  outH: u32, outW: u32,
  inH: u32, inW: u32,
  mul: vec2<i32>,     // source (y, x) = out * mul + add + tap * step
  add: vec2<i32>,
  step: vec2<i32>,
  aImage: u32, aRow: u32, aPixel: u32, aGroup: u32,               // strides of a, in A
  bTap: vec2<u32>, bStart: u32, bStride: u32, bGroup: u32,        // b, in T: tap strides, start, row, group
  cImage: u32, cRow: u32, cPixel: u32, cGroup: u32, cStart: u32,  // strides of c, in T
  relu: u32,
}

@group(0) @binding(0) var<storage, read> a: array<A>;
@group(0) @binding(1) var<storage, read> b: array<T>;
@group(0) @binding(2) var<storage, read_write> c: array<T>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include conv_pixel
#include conv_epilogue

override STRIDE: u32 = KT / 4u + 1u;
var<workgroup> tile_a: array<vec4<f32>, BUFFERS * LY * ${TM}u * STRIDE>;
var<workgroup> tile_b: array<vec4<f32>, BUFFERS * KT * LX * ${TV}u>;
#include tiled_columns

/** Four terms of a row of a from its term `4 * k` on under a tap whose first element is a[start]; zeros past the last. */
fn terms(start: u32, k: u32, inside: bool) -> vec4<f32> {
  #if AELEM == 4
  return select(vec4<f32>(), vec4<f32>(a[start + min(k, params.inner - 1u)]), inside && k < params.inner);
  #else
  var v: vec4<f32>;
  #for C in 4
  v[$C] = select(0.0, f32(a[start + min(4u * k + ${C}u, params.inner - 1u)]), inside && 4u * k + ${C}u < params.inner);
  #endfor
  return v;
  #endif
}

/** The same of the pixel whose source under the first tap is (y, x) of the map that starts at a[image]. */
fn gathered(image: u32, y: i32, x: i32, ty: u32, tx: u32, k: u32) -> vec4<f32> {
  let source_y = u32(y + i32(ty) * params.step.x);
  let source_x = u32(x + i32(tx) * params.step.y);
  let inside = source_y < params.inH && source_x < params.inW;
  return terms(image + select(0u, source_y * params.aRow + source_x * params.aPixel, inside), k, inside);
}

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let tile = workgroup_number(id, count);
  let group = id.z;
  let row0 = (tile / params.colTiles) * (LY * ${TM}u);
  let col0 = (tile % params.colTiles) * (LX * ${TV}u);
  let thread = lane.y * LX + lane.x;

  // What this invocation stages: of a, one vec4 of AL rows; of b, one column of BL terms. Rows past the end repeat the last one.
  let a_vector = thread % (KT / 4u);
  #for I in AL
  let a_row$I = thread / (KT / 4u) + ${I}u * (LX * LY / (KT / 4u));
  #if POINTWISE
  let image$I = min(row0 + a_row$I, params.rows - 1u) * params.aPixel + group * params.aGroup;
  #else
  let pixel$I = pixel_at(min(row0 + a_row$I, params.rows - 1u));
  let image$I = pixel$I.image * params.aImage + group * params.aGroup;
  let y$I = i32(pixel$I.y) * params.mul.x + params.add.x;
  let x$I = i32(pixel$I.x) * params.mul.y + params.add.y;
  #endif
  var a$I: vec4<f32>;
  #endfor
  let b_col = thread % (LX * ${TV}u);
  let b_term = thread / (LX * ${TV}u);
  #for I in BL
  var b$I: vec4<f32>;
  #endfor

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
    tile_a[a_tile + a_row$I * STRIDE + a_vector] = a$I;
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
      #if POINTWISE
      let out = params.cStart + row * params.cPixel + group * params.cGroup;
      #else
      let p = pixel_at(row);
      let out = params.cStart + p.image * params.cImage + p.y * params.cRow + p.x * params.cPixel + group * params.cGroup;
      #endif
      #for J in TV
      {
        let column = col0 + ${J}u * LX + lane.x;
        #if ELEM == 4
        if (column < params.cols) {
          c[out + column] = finished(c${I}_$J, group * params.cols + column, out + column);
        }
        #else
        #for C in 4
        if (4u * column + ${C}u < params.cols) {
          let at = 4u * column + ${C}u;
          c[out + at] = finished(c${I}_$J[$C], group * params.cols + at, out + at);
        }
        #endfor
        #endif
      }
      #endfor
    }
  }
  #endfor
}

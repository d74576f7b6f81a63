// conv_weight_grad.wgsl for software adapters (see conv_stationary.wgsl), of a dy transposed beforehand to [filters, pixels]:
//   dw[split, tap, filter, i] = sum over the split's output pixels of dy[filter, pixel] * x[source(pixel, tap) * channels + i]
// A workgroup is one subgroup. It holds the i of KC pixels, gathered under one tap, and walks over the filters with them.
// Lane l loads AELEM neighbouring pixels of dy, which all lanes get by broadcasts.
// Grid: tiles of (tap, columns) folded into x and y; z = group * splits + split.
// FLOPs: 2 * taps * inner * filters * pixels. Bytes at least: 4 (|x| + |dy| + splits * |dw|).
enable subgroups;
#include stationary_operands

struct Params {
  filters: u32,          // output channels of one group
  cols: u32,             // contiguous elements of x under one tap, in T
  colTiles: u32,
  tapsX: u32,
  pixels: u32,           // images * outH * outW, in A
  pixelsPerSplit: u32,   // in A, whole chunks
  splits: u32,
  outH: u32, outW: u32,
  inH: u32, inW: u32,
  stride: vec2<i32>,
  pad: vec2<i32>,
  xImage: u32, xRow: u32, xPixel: u32, xGroup: u32,      // strides of x, in T
  wTap: u32, wSplit: u32,                                // strides of dw, in T
  none: u32,             // 0, which no compiler may know
}

@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read> dy: array<$DY>;
@group(0) @binding(2) var<storage, read_write> dw: array<T>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include conv_pixel

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let lane = local.x;
  let tile = workgroup_number(id, count);
  let group = id.z / params.splits;
  let split = id.z % params.splits;
  let tap = tile / params.colTiles;
  let tile_col = (tile % params.colTiles) * (SG * ${TV}u);
  let first_col = tile_col + lane;
  #for J in TV
  let col$J = min(first_col + ${J}u * SG, params.cols - 1u);
  #endfor
  let shift_y = i32(tap / params.tapsX) - params.pad.x;
  let shift_x = i32(tap % params.tapsX) - params.pad.y;

  let k_begin = split * params.pixelsPerSplit;
  let k_end = min(k_begin + params.pixelsPerSplit, params.pixels);
  var pixel = pixel_at(k_begin * ${AELEM}u);
  var held: array<T, max(512u / ${ELEM}u, KC * ${TV}u)>;
  let terms = select(KC, 0u, params.filters == 0u);  // as in conv_stationary.wgsl
  var touched = 0u;
  for (var k0 = k_begin; k0 < k_end; k0 += KC / ${AELEM}u) {
    #if UNROLLED
    if (terms > 0u) {
      #for G in STEPS
      {
        const k = ${G}u * ${STEP}u;
        #include stationary_pixels
      }
      #endfor
    }
    #else
    for (var k = 0u; k < terms; k += ${STEP}u) {
      #include stationary_pixels
    }
    #endif
    for (var row = 0u; row < params.filters; row++) {
      let filter_ = group * params.filters + row;
      let out = split * params.wSplit + tap * params.wTap + filter_ * params.cols;
      #for J in TV
      var t$J = T(0.0);
      #endfor
      let row_start = (filter_ * params.pixels) | (touched & params.none);
      #if UNROLLED
      let ahead = min(filter_ + 1u, (group + 1u) * params.filters - 1u) * params.pixels;
      #for L in LINES
      touched |= touch_a(A(dy[ahead + min(k0 + ${L}u * (16u / ${AELEM}u), k_end - 1u)]));
      #endfor
      #endif
      if (terms > 0u) {  // as there
        #for Q in VECTORS
        let at$Q = k0 + ${Q}u * SG + lane;
        let a$Q = select(A(0.0), A(dy[row_start + min(at$Q, k_end - 1u)]), at$Q < k_end);
        #endfor
        #include stationary_products
      }
      #for J in TV
      if (first_col + ${J}u * SG < params.cols) {
        var value = t$J;
        if (k0 != k_begin) { value += dw[out + col$J]; }
        dw[out + col$J] = value;
      }
      #endfor
    }
  }
}

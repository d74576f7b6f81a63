// Batch statistics, first half: per chunk of rows the mean and the sum of squared deviations of each channel.
//   mean_k = x0 + S / n, m2_k = Q - S^2 / n with S, Q the sums of (x - x0) and (x - x0)^2, x0 the mean of the chunk's first
//   8 rows: so near the mean, the difference cancels next to nothing. Sums of 8 rows are added up before they join the chunk's:
//   rounding errors grow with the square root of the additions a value goes through.
//   AHEAD: 8 rows are loaded before the first one is looked at; GPUs would wait for each by itself.
//   Not needed where a convolution left the same of its tiles (tiled_moments.wgsl).
//   GATHERS: the lines of eight rows are fetched ahead (touch.wgsl); a workgroup is then one row of lanes.
// Layout: x [rows, channels]; partial [2, chunks, channels]. Grid: x over channels in T (lanes), y over chunks.
// Bytes: 4 rows channels read.
#include elem
struct Params { rows: u32, channels: u32, chunk: u32, chunks: u32, none: u32 }  // channels in T
override LX: u32 = 8;
override LY: u32 = 8;
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> partial: array<T>;
@group(0) @binding(2) var<uniform> params: Params;

#if GATHERS
#include batch_norm_lines
#endif

@compute @workgroup_size(LX, LY)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = id.x;
  let k = id.y;
  if (c >= params.channels || k >= params.chunks) { return; }
  let first = k * params.chunk;
  let end = min(first + params.chunk, params.rows);
  let head = min(first + 8u, end);
  var touched = 0u;
  #if GATHERS
  touched = touch_rows(first, end, group.x * LX);
  #endif
  let row0 = T(x[first * params.channels + c]);
  var above = T(0.0);
  #if AHEAD
  if (first + 8u <= end) {
    #for I in 8
    let x$I = x[(first + ${I}u) * params.channels + c];
    #endfor
    #for I in 8
    above += T(x$I) - row0;
    #endfor
  } else {
    for (var r = first; r < head; r++) { above += T(x[r * params.channels + c]) - row0; }
  }
  #else
  for (var r = first; r < head; r++) { above += T(x[r * params.channels + c]) - row0; }
  #endif
  let origin = row0 + above / f32(head - first);
  var sum = T(0.0);
  var squares = T(0.0);
  for (var r = first; r < end; r += 8u) {
    #if GATHERS
    touched |= touch_rows(r + 8u, end, group.x * LX);
    #endif
    var block_sum = T(0.0);
    var block_squares = T(0.0);
    #if AHEAD
    if (r + 8u <= end) {
      #for I in 8
      let x$I = x[(r + ${I}u) * params.channels + c];
      #endfor
      #for I in 8
      let d$I = T(x$I) - origin;
      block_sum += d$I;
      block_squares = fma(d$I, d$I, block_squares);
      #endfor
      sum += block_sum;
      squares += block_squares;
      continue;
    }
    #endif
    for (var i = r; i < min(r + 8u, end); i++) {
      let d = T(x[(i * params.channels + c) | (touched & params.none)]) - origin;
      block_sum += d;
      block_squares = fma(d, d, block_squares);
    }
    sum += block_sum;
    squares += block_squares;
  }
  let n = f32(end - first);
  partial[k * params.channels + c] = origin + sum / n;
  partial[(params.chunks + k) * params.channels + c] = max(squares - sum * sum / n, T(0.0));
}

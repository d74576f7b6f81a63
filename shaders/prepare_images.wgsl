// From decoded bytes to network input, one pass: resize, shift, flip, random erasing, normalisation.
//   y[n, v, u] = (pixel / 255 - mean) / std of the picture resized to height x width, moved by shift, then mirrored, then
//   erased; what the picture does not cover becomes `fill` and what is erased `erasure`, in normalised values.
// The resize is PIL's (without rounding to bytes between the passes): half-pixel centres, along rows first, a triangle or,
// with CUBIC, a cubic (a = -1/2) that is widened by the scale where it shrinks, and then antialiases. A cubic overshoots; each
// pass is clipped to what a byte can hold.
// Layout: bytes = RGB of all pictures; table [images, 10] = byte offset, width, height, flip, shift right, shift down, and
// top, left, height, width of the erased rectangle (height 0: none). Grid: one invocation per output pixel.
struct Params { images: u32, height: u32, width: u32, mean: vec4<f32>, deviation: vec4<f32>, fill: vec4<f32>, erasure: vec4<f32> }
@group(0) @binding(0) var<storage, read> bytes: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

fn channel(at: u32) -> f32 { return f32((bytes[at >> 2u] >> ((at & 3u) * 8u)) & 255u); }

struct Window { first: i32, end: i32, centre: f32, sharpness: f32 }

fn window(out: i32, outSize: u32, size: i32) -> Window {
  let scale = f32(size) / f32(outSize);
  let widening = max(scale, 1.0);
  #if CUBIC
  let support = 2.0 * widening;
  #else
  let support = widening;
  #endif
  let centre = (f32(out) + 0.5) * scale;
  return Window(max(0, i32(floor(centre - support + 0.5))), min(size, i32(floor(centre + support + 0.5))), centre, 1.0 / widening);
}

fn weight(w: Window, i: i32) -> f32 {
  let x = abs((f32(i) + 0.5 - w.centre) * w.sharpness);
  #if CUBIC
  if (x < 1.0) { return (1.5 * x - 2.5) * x * x + 1.0; }
  return select(0.0, -0.5 * (((x - 5.0) * x + 8.0) * x - 4.0), x < 2.0);
  #else
  return max(0.0, 1.0 - x);
  #endif
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.images * params.height * params.width) { return; }
  let u = i32(i % params.width);
  let v = i32((i / params.width) % params.height);
  let row = (i / (params.width * params.height)) * 10u;
  let width = table[row + 1u];
  let height = table[row + 2u];

  let top = table[row + 6u];
  let left = table[row + 7u];
  let erased = v >= top && v < top + table[row + 8u] && u >= left && u < left + table[row + 9u];
  let mirrored = select(u, i32(params.width) - 1 - u, table[row + 3u] != 0);
  let sx = mirrored - table[row + 4u];
  let sy = v - table[row + 5u];
  let covered = sx >= 0 && sx < i32(params.width) && sy >= 0 && sy < i32(params.height);

  var value = select(params.fill.xyz, params.erasure.xyz, erased);
  if (covered && !erased) {
    let wx = window(sx, params.width, width);
    let wy = window(sy, params.height, height);
    var sum = vec3<f32>(0.0);
    var total = 0.0;
    for (var py = wy.first; py < wy.end; py++) {
      let weight_y = weight(wy, py);
      var line = vec3<f32>(0.0);
      var line_total = 0.0;
      for (var px = wx.first; px < wx.end; px++) {
        let at = u32(table[row]) + u32(py * width + px) * 3u;
        let w = weight(wx, px);
        line += w * vec3<f32>(channel(at), channel(at + 1u), channel(at + 2u));
        line_total += w;
      }
      sum += weight_y * clamp(line / line_total, vec3<f32>(0.0), vec3<f32>(255.0));
      total += weight_y;
    }
    let pixel = clamp(sum / total, vec3<f32>(0.0), vec3<f32>(255.0));
    value = (pixel / 255.0 - params.mean.xyz) / params.deviation.xyz;
  }
  y[i * 3u] = value.x;
  y[i * 3u + 1u] = value.y;
  y[i * 3u + 2u] = value.z;
}

// Gradient of the bilinear crop-resize, as a gather: dx[n, h, w, c] = sum over outputs (i, j), in order, of
// dy[n, i, j, c] times the share that (h, w) has in it.
// Layout: NHWC; T is f32 or vec4 along channels, which counts elements of T. Grid: one invocation per COLUMNS Ts of a pixel of dx, which
// lie as far apart as they can: what the shares take, with their divisions, is more than the sums themselves.
// Bytes: 4 written per element of dx; each dy is read by the up to four pixels it came from.
struct Params { total: u32, channels: u32, height: u32, width: u32, outHeight: u32, outWidth: u32 }
@group(0) @binding(0) var<storage, read> dy: array<$DY>;
@group(0) @binding(1) var<storage, read> boxes: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dx: array<$DX>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem
#include crop_tap

struct Range { first: u32, end: u32 }

// Outputs that may touch map position `at`. Clamping to the crop moves a sample by at most half a pixel, bilinear
// weights reach one, the rest is room for rounding; the map's borders also gather what lies outside of it.
fn outputs_near(at: u32, start: f32, end: f32, outputs: u32, size: u32) -> Range {
  let per_pixel = f32(outputs) / max(end - start, 1e-6);
  let limit = f32(outputs);
  let centre = f32(at) + 0.5 - start;
  let first = select(u32(clamp((centre - 1.75) * per_pixel - 1.0, 0.0, limit)), 0u, at == 0u);
  let last = select(u32(clamp((centre + 1.75) * per_pixel + 1.0, 0.0, limit)), outputs, at == size - 1u);
  return Range(first, last);
}

fn share(tap: Tap, at: u32) -> f32 {
  return select(0.0, 1.0 - tap.high_share, tap.low == at) + select(0.0, tap.high_share, tap.high == at);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let apart = params.channels / ${COLUMNS}u;
  let c = i % apart;
  let pixel = i / apart;
  let h = (pixel / params.width) % params.height;
  let w = pixel % params.width;
  let n = pixel / (params.width * params.height);
  let box = boxes[n];
  let rows = outputs_near(h, box.x, box.z, params.outHeight, params.height);
  let columns = outputs_near(w, box.y, box.w, params.outWidth, params.width);
  #for I in COLUMNS
  var sum$I = T();
  #endfor
  for (var row = rows.first; row < rows.end; row++) {
    let row_share = share(crop_tap(row, box.x, box.z, params.outHeight, params.height), h);
    if (row_share == 0.0) { continue; }
    let base = (n * params.outHeight + row) * params.outWidth;
    for (var column = columns.first; column < columns.end; column++) {
      let column_share = share(crop_tap(column, box.y, box.w, params.outWidth, params.width), w);
      if (column_share == 0.0) { continue; }
      let at = (base + column) * params.channels + c;
      #for I in COLUMNS
      sum$I += row_share * column_share * T(dy[at + ${I}u * apart]);
      #endfor
    }
  }
  #for I in COLUMNS
  dx[pixel * params.channels + c + ${I}u * apart] = $DX(sum$I);
  #endfor
}

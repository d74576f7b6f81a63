// One axis of a bilinear crop-resize: output i of `outputs` lies between map positions low and high, `high_share` of it
// from high. The crop [start, end) is sampled at half-pixel centres; samples stay inside the crop, and inside the map.
struct Tap { low: u32, high: u32, high_share: f32 }

fn crop_tap(i: u32, start: f32, end: f32, outputs: u32, size: u32) -> Tap {
  let length = max(end - start, 0.0);
  let inside = clamp((f32(i) + 0.5) * length / f32(outputs) - 0.5, 0.0, max(length - 1.0, 0.0));
  let at = clamp(start + inside, 0.0, f32(size - 1u));
  let low = u32(at);
  return Tap(low, min(low + 1u, size - 1u), at - f32(low));
}

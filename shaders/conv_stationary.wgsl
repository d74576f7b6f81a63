// conv.wgsl for software adapters, where a load by lanes costs as much as some ten multiply-adds, a subgroup broadcast next to
// nothing, and a private array at a constant index is plain memory: same product, same rows, columns and parameters.
// A workgroup is one subgroup. It holds KC rows of b for its columns, walks over its rows of c with them and adds to c; then
// come the next KC. Of a, a lane loads AELEM neighbours under one tap, which all lanes get by broadcasts. Every number loaded
// serves SG * TV * ELEM (of a), rowsPer (of b) or KC (of c) multiply-adds. Forward and input gradient both read weights as they are.
// UNROLLED: for adapters whose loads are gathers, see stationary_operands.wgsl.
// TURNED: b is [taps, cols, inner], and bStride is that of columns.
// Tile: rowsPer rows by SG * TV columns of T. FLOPs: 2 * rows * cols * taps * inner. Bytes at least: 4 (|a| + |b| + |c|).
enable subgroups;
#include stationary_operands
#include conv_product

#if SUMS
// Where c is stored in halves and one pass is not enough: sums stay float32 until they are finished, laid out as c.
@group(0) @binding(7) var<storage, read_write> sums: array<T>;
#endif

fn place(p: Pixel, group: u32) -> u32 {
  return params.cStart + p.image * params.cImage + p.y * params.cRow + p.x * params.cPixel + group * params.cGroup;
}

@compute @workgroup_size(SG)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let lane = local.x;
  let tile = workgroup_number(id, count);
  let group = id.z;
  let row0 = (tile / params.colTiles) * params.rowsPer;
  let row_end = min(row0 + params.rowsPer, params.rows);
  // Columns past the end repeat the last one; they are not stored.
  let tile_col = (tile % params.colTiles) * (SG * ${TV}u);
  let first_col = tile_col + lane;
  #for J in TV
  let col$J = min(first_col + ${J}u * SG, params.cols - 1u);
  #endfor
  let pixel0 = pixel_at(row0);
  var touched = 0u;

  // Mesa turns an array of up to 1 KiB with a varying index into branches, one for each element, which take LLVM seconds. So it
  // has 2 KiB always, and the compiler cannot know that fewer are used.
  var held: array<T, max(512u / ${ELEM}u, KC * ${TV}u)>;
  let has_taps = params.tapsY * params.tapsX != 0u;
  let terms = select(0u, KC, has_taps);
  // Without taps one pass stores what becomes of 0, with nothing loaded.
  let tapsY = max(params.tapsY, 1u);
  let tapsX = max(params.tapsX, 1u);
  let inner = select(1u, params.inner, has_taps);
  for (var ty = 0u; ty < tapsY; ty++) {
    for (var tx = 0u; tx < tapsX; tx++) {
      let b0 = group * params.bGroup + params.bStart + ty * params.bTap.x + tx * params.bTap.y;
      let shift_y = params.add.x + i32(ty) * params.step.x;
      let shift_x = params.add.y + i32(tx) * params.step.y;
      for (var k0 = 0u; k0 < inner; k0 += KC / ${AELEM}u) {
        #if UNROLLED
        if (has_taps) {
          #for G in STEPS
          {
            const k = ${G}u * ${STEP}u;
            #include stationary_terms
          }
          #endfor
        }
        #else
        for (var k = 0u; k < terms; k += ${STEP}u) {
          #include stationary_terms
        }
        #endif
        let is_first = ty + tx + k0 == 0u;
        let is_last = ty + 1u == tapsY && tx + 1u == tapsX && k0 + KC / ${AELEM}u >= inner;
        var pixel = pixel0;
        for (var row = row0; row < row_end; row++) {
          let y = u32(i32(pixel.y) * params.mul.x + shift_y);
          let x = u32(i32(pixel.x) * params.mul.y + shift_x);
          let inside = y < params.inH && x < params.inW;
          let start = (select(0u, pixel.image * params.aImage + y * params.aRow + x * params.aPixel, inside) + group * params.aGroup)
            | (touched & params.none);
          let out = place(pixel, group);
          #for J in TV
          var t$J = T(0.0);
          #endfor
          pixel = next(pixel);
          #if UNROLLED
          // Lines of the next row, while this one's products run.
          if (row + 1u < row_end) {
            let y_ahead = u32(i32(pixel.y) * params.mul.x + shift_y);
            let x_ahead = u32(i32(pixel.x) * params.mul.y + shift_x);
            if (y_ahead < params.inH && x_ahead < params.inW) {
              let ahead = pixel.image * params.aImage + y_ahead * params.aRow + x_ahead * params.aPixel + group * params.aGroup;
              #for L in LINES
              touched |= touch_a(A(a[ahead + min(k0 + ${L}u * (16u / ${AELEM}u), params.inner - 1u)]));
              #endfor
            }
          }
          #endif
          // In a block of their own: LLVM makes slower code of products that share one with the loads and stores of lanes.
          if (has_taps) {
            #for Q in VECTORS
            let at$Q = k0 + ${Q}u * SG + lane;
            let a$Q = select(A(0.0), A(a[start + min(at$Q, params.inner - 1u)]), inside && at$Q < params.inner);
            #endfor
            #include stationary_products
          }
          #for J in TV
          if (first_col + ${J}u * SG < params.cols) {
            var value = t$J;
            if (!is_first) { value += T(${SUMMED}[out + col$J]); }
            #if SUMS
            if (!is_last) { sums[out + col$J] = value; }
            #endif
            if (is_last) { value = finished(value, group * params.cols + col$J, out + col$J); }
            #if SUMS
            if (is_last) { c[out + col$J] = $C(value); }
            #else
            c[out + col$J] = $C(value);
            #endif
          }
          #endfor
        }
      }
    }
  }
}

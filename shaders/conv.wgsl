// Convolution as implicit GEMM, forward and input gradient, without workgroup memory:
//   c[row, col] = sum over taps (ty, tx) and channels i of a[pixel(row, ty, tx) * channels + i] * b[tap * inner + i, col]
// Rows are output pixels (image, y, x) flattened, columns are output channels, one group per grid z.
//   forward         a = x, b = weights [kh, kw, Cin/g, Cout]; source y = y * stride - pad + ty
//   input gradient  a = dy, b = weights transposed [kh, kw, Cout, Cin/g]; one dispatch per parity of the stride:
//                   source y = y + (parity + pad - k0) / stride - ty, over the taps k0 + ty * stride
// Each invocation makes TM rows x TV columns of type T (f32, vec2, vec4): a is read as scalars that all lanes share,
// b as T, lanes side by side. Tile: LY * TM rows by LX * TV columns of T. FLOPs: 2 * rows * cols * taps * inner.
// A, C: how a and c are stored, f32 or f16. Bytes at least: 4 (|a| + |b| + |c|), half of it for what is f16.
#include elem
#include conv_product

// Products added up before they join the sum: rounding errors grow with the square root of the additions that a value goes
// through, and what they decide (on which side of a ReLU a value falls) is visible in gradients.
const BLOCK = 12u;
override LX: u32 = 8;
override LY: u32 = 2;

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let tile = workgroup_number(id, count);
  let group = id.z;
  let row0 = ((tile / params.colTiles) * LY + lane.y) * ${TM}u;
  let first_col = (tile % params.colTiles) * (LX * ${TV}u) + lane.x;
  if (row0 >= params.rows) { return; }

  // Rows and columns past the end repeat the last one; they are not stored.
  let last_row = params.rows - 1u;
  let last_col = params.cols - 1u;
  #for J in TV
  let col$J = min(first_col + ${J}u * LX, last_col);
  #endfor

  var pixel0 = pixel_at(row0);
  #for I in TM
  #if I > 0
  var pixel$I = next(pixel$PREV);
  if (row0 + ${I}u > last_row) { pixel$I = pixel$PREV; }
  #endif
  let y$I = i32(pixel$I.y) * params.mul.x + params.add.x;
  let x$I = i32(pixel$I.x) * params.mul.y + params.add.y;
  let image$I = pixel$I.image * params.aImage + group * params.aGroup;
  #for J in TV
  var c${I}_${J} = T(0.0);
  #endfor
  #endfor

  for (var ty = 0u; ty < params.tapsY; ty++) {
    for (var tx = 0u; tx < params.tapsX; tx++) {
      let dy = i32(ty) * params.step.x;
      let dx = i32(tx) * params.step.y;
      #for I in TM
      #if PADDED
      let inside$I = u32(y$I + dy) < params.inH && u32(x$I + dx) < params.inW;
      let keep$I = select(0.0, 1.0, inside$I);
      let a$I = select(0u, image$I + u32(y$I + dy) * params.aRow + u32(x$I + dx) * params.aPixel, inside$I);
      #else
      let a$I = image$I + u32(y$I + dy) * params.aRow + u32(x$I + dx) * params.aPixel;
      #endif
      #endfor
      var at = group * params.bGroup + params.bStart + ty * params.bTap.x + tx * params.bTap.y;
      for (var k0 = 0u; k0 < params.inner; k0 += BLOCK) {
        let end = min(k0 + BLOCK, params.inner);
        #for I in TM
        #for J in TV
        var s${I}_${J} = T(0.0);
        #endfor
        #endfor
        for (var k = k0; k < end; k++) {
          #for J in TV
          let b$J = b[at + col$J];
          #endfor
          #for I in TM
          #if PADDED
          let v$I = T(f32(a[a$I + k]) * keep$I);
          #else
          let v$I = T(f32(a[a$I + k]));
          #endif
          #for J in TV
          s${I}_${J} = fma(v$I, b$J, s${I}_${J});
          #endfor
          #endfor
          at += params.bStride;
        }
        #for I in TM
        #for J in TV
        c${I}_${J} += s${I}_${J};
        #endfor
        #endfor
      }
    }
  }

  #for I in TM
  if (row0 + ${I}u <= last_row) {
    let out = params.cStart + pixel$I.image * params.cImage + pixel$I.y * params.cRow + pixel$I.x * params.cPixel + group * params.cGroup;
    #for J in TV
    if (first_col + ${J}u * LX <= last_col) {
      c[out + col$J] = $C(finished(c${I}_${J}, group * params.cols + col$J, out + col$J));
    }
    #endfor
  }
  #endfor
}

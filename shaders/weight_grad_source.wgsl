// Where a weight gradient's kernel finds what it takes from x, AELEM floats to an element. Wants the parameters of weight_grad_product.wgsl.

/** Strides of x in A. Each is divided by itself: sums of them may be negative, and only wrap back where nothing divides them. */
fn x_image() -> u32 { return params.xImage / ${AELEM}u; }
fn x_row() -> u32 { return params.xRow / ${AELEM}u; }
fn x_pixel() -> u32 { return params.xPixel / ${AELEM}u; }

/** What a row of dw reads of x: from a pixel's source (y, x) on, and how far further, in A. */
struct Row { y: i32, x: i32, at: u32 }

fn row_at(row: u32, group: u32) -> Row {
  let r = min(row, params.rows - 1u);
  let tap = r / params.inner;
  let y = i32(tap / params.tapsX) - params.pad.x;
  let x = i32(tap % params.tapsX) - params.pad.y;
  return Row(y, x, (r % params.inner + group * params.xGroup) / ${AELEM}u + u32(y) * x_row() + u32(x) * x_pixel());
}

#if !POINTWISE
/** The source of an output pixel under a tap at (0, 0), and its first element, in A: no product to make from slice to slice. */
struct Source { y: i32, x: i32, at: u32 }

fn source_of(number: u32) -> Source {
  let p = pixel_at(number);
  let y = p.y * u32(params.stride.x);
  let x = p.x * u32(params.stride.y);
  return Source(i32(y), i32(x), p.image * x_image() + y * x_row() + x * x_pixel());
}

/** That of the pixel KT further on. */
fn advanced(s: Source) -> Source {
  let rows = params.advance.y * u32(params.stride.x);
  let columns = params.advance.z * u32(params.stride.y);
  let width = params.outW * u32(params.stride.y);
  let height = params.outH * u32(params.stride.x);
  let x = s.x + i32(columns);
  let next_row = x >= i32(width);
  let y = s.y + select(i32(rows), i32(rows) + params.stride.x, next_row);
  let next_image = y >= i32(height);
  let at = s.at + params.advance.x * x_image() + rows * x_row() + columns * x_pixel()
    + select(0u, u32(params.stride.x) * x_row() - width * x_pixel(), next_row)
    + select(0u, x_image() - height * x_row(), next_image);
  return Source(select(y, y - i32(height), next_image), select(x, x - i32(width), next_row), at);
}

fn inside(s: Source, row: Row) -> bool {
  return (u32(s.y + row.y) < params.inH) & (u32(s.x + row.x) < params.inW);
}
#endif

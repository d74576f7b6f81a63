// Batched matrix product: c[z, m, n] = sum over k, block after block, of a[z, m, k] b[z, k, n]. Either operand may be transposed:
// elements are found by strides. Each invocation makes 8 rows x COLUMNS columns in registers; lanes run along n and share
// their elements of a, which costs one load for all of them.
// The sum may be split into parts of `perSplit` terms, a multiple of BLOCK, which are added up afterwards.
// Layout: c [splits, batch, rows, columns], splits cSplit apart. Grid: one workgroup per (split, batch, 8 rows, 64 COLUMNS columns), columns
// fastest.
// Bytes: 4 (M K + K N + M N) at least. FLOPs: 2 M N K per batch entry.
struct Params {
  rows: u32, columns: u32, depth: u32, perSplit: u32, batches: u32, rowTiles: u32, columnTiles: u32, tiles: u32,
  aBatch: u32, aRow: u32, aDepth: u32, bBatch: u32, bDepth: u32, bColumn: u32, cSplit: u32
}
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

// Products added up before they join the sum, as in conv.wgsl.
const BLOCK = 12u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = workgroup_number(id, count);
  if (tile >= params.tiles) { return; }
  let row = (tile / params.columnTiles) % params.rowTiles * 8u;
  let whole = tile / (params.columnTiles * params.rowTiles);
  let batch = whole % params.batches;
  let split = whole / params.batches;
  let start = split * params.perSplit;
  let end = min(start + params.perSplit, params.depth);
  let column = (tile % params.columnTiles) * 64u * $COLUMNS + lane;

  // Rows and columns past the end repeat the last one and are not stored.
#for R in 8
  var a$R = batch * params.aBatch + min(row + $R, params.rows - 1u) * params.aRow + start * params.aDepth;
#endfor
#for C in COLUMNS
  var b$C = batch * params.bBatch + min(column + 64u * $C, params.columns - 1u) * params.bColumn + start * params.bDepth;
#for R in 8
  var sum$C$R = 0.0;
#endfor
#endfor
  for (var first = start; first < end; first += BLOCK) {
#for C in COLUMNS
#for R in 8
    var block$C$R = 0.0;
#endfor
#endfor
    for (var k = first; k < min(first + BLOCK, end); k++) {
#for C in COLUMNS
      let y$C = b[b$C];
      b$C += params.bDepth;
#endfor
#for R in 8
      let x$R = a[a$R];
      a$R += params.aDepth;
#for C in COLUMNS
      block$C$R += x$R * y$C;
#endfor
#endfor
    }
#for C in COLUMNS
#for R in 8
    sum$C$R += block$C$R;
#endfor
#endfor
  }
  let base = split * params.cSplit + (batch * params.rows + row) * params.columns + column;
#for R in 8
#for C in COLUMNS
  if (row + $R < params.rows && column + 64u * $C < params.columns) { c[base + $R * params.columns + 64u * $C] = sum$C$R; }
#endfor
#endfor
}

/** Matrices of few entries in each row, in typed arrays: 8 bytes an entry. */

/** Entries of a row; columns are distinct and in no particular order. */
export interface SparseRow {
  readonly columns: Uint32Array;
  readonly values: Float32Array;
}

/** Row i lies from offsets[i] to offsets[i + 1]. */
export interface SparseMatrix extends SparseRow {
  readonly offsets: Uint32Array;
}

/** A matrix that is written row by row; its arrays grow by half when they are full. */
export class SparseRows implements SparseMatrix {
  readonly offsets: Uint32Array;
  columns = new Uint32Array(1024);
  values = new Float32Array(1024);
  private rows = 0;
  private entries = 0;

  constructor(rows: number) {
    this.offsets = new Uint32Array(rows + 1);
  }

  push(column: number, value: number): void {
    if (this.entries === this.columns.length) {
      const [columns, values] = [this.columns, this.values];
      const size = Math.ceil(1.5 * this.entries);
      this.columns = new Uint32Array(size);
      this.columns.set(columns);
      this.values = new Float32Array(size);
      this.values.set(values);
    }
    this.columns[this.entries] = column;
    this.values[this.entries++] = value;
  }

  endRow(): void {
    this.offsets[++this.rows] = this.entries;
  }

  row(index: number): SparseRow {
    const [from, to] = [this.offsets[index], this.offsets[index + 1]];
    return { columns: this.columns.subarray(from, to), values: this.values.subarray(from, to) };
  }
}

/**
 * The transposed of a matrix whose rows are made on demand, twice: to count the entries of each column, and to place them.
 * Entries of a row of the result are sorted by column.
 * @param made awaited after each row that was made, of twice as many
 */
export async function transposed(
  rows: number,
  columns: number,
  rowOf: (row: number) => SparseRow,
  made: (done: number, total: number) => Promise<void> | void = () => {},
): Promise<SparseMatrix> {
  const offsets = new Uint32Array(columns + 1);
  for (let row = 0; row < rows; row++) {
    for (const column of rowOf(row).columns) offsets[column + 1]++;
    await made(row + 1, 2 * rows);
  }
  for (let column = 0; column < columns; column++) offsets[column + 1] += offsets[column];
  const next = offsets.slice(0, columns);
  const result = { offsets, columns: new Uint32Array(offsets[columns]), values: new Float32Array(offsets[columns]) };
  for (let row = 0; row < rows; row++) {
    const { columns: places, values } = rowOf(row);
    for (let i = 0; i < places.length; i++) {
      const at = next[places[i]]++;
      result.columns[at] = row;
      result.values[at] = values[i];
    }
    await made(rows + row + 1, 2 * rows);
  }
  return result;
}

/**
 * A list of images as CSV: `path, pid, camid, subset`, the last two of which may be left out or empty, the subset only by
 * all rows. A first row with the columns' names allows any order and further columns. Paths are relative to the file; quotes, a byte order mark,
 * CRLF and the delimiters `;` and tab are understood. People and cameras may have any names; pid -1 is junk, camid -1 or
 * none an unknown camera.
 */
import { stat } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import { UserError } from "../../errors.js";
import { UNKNOWN_CAMERA } from "./cameras.js";
import { checkListed, isImage, readList } from "./files.js";
import { numberNames, numberPeople } from "./names.js";
import { allAgainstAll } from "./tree.js";
import { type Dataset, datasetOf, type ReadRequest, type Sample, SUBSETS } from "./types.js";

const COLUMNS = ["path", "pid", "camid", "subset"] as const;
type Row = Record<(typeof COLUMNS)[number], string>;
const LISTS = ["train", "query", "gallery", "multi-query"];
const HELP = "Expected columns path, pid and, where known, camid and subset (train, query, gallery, multi-query)";

export const isCsv = (path: string) => [".csv", ".tsv"].includes(extname(path).toLowerCase());

export async function readCsv(file: string, request: ReadRequest): Promise<Dataset> {
  const text = await readList(file);
  if (text === null) throw new UserError(`No list ${file}. ${HELP}.`);
  const rows = await parseRows(file, text);
  if (rows.length === 0) throw new UserError(`${file} lists no image. ${HELP}.`);
  const folder = dirname(file);
  const pids = numberPeople(rows.map(({ pid }) => pid));
  const cameras = numberNames(
    rows.map(({ camid }) => camid).filter((camid) => camid !== "" && camid !== "-1"),
    0,
  );
  const samples = rows.map(
    ({ path, pid, camid }): Sample => ({
      path: resolve(folder, path),
      name: path,
      pid: pids.get(pid)!,
      camid: cameras.get(camid) ?? UNKNOWN_CAMERA,
    }),
  );
  await checkListed(
    samples.map(({ path }) => path),
    file,
  );
  const dataset = datasetOf({ name: basename(file, extname(file)), root: folder, layout: "csv" });
  if (rows.every(({ subset }) => subset === "")) return allAgainstAll(dataset, samples, request);

  const of = (list: string) => samples.filter((_, i) => rows[i].subset === list);
  for (const subset of SUBSETS) {
    dataset[subset] = of(subset);
    if (request.needed.includes(subset) && dataset[subset].length === 0)
      throw new UserError(`${file} lists no image of the subset ${subset}. ${HELP}.`);
  }
  if (request.multiQuery) dataset.multiQuery = of("multi-query");
  return dataset;
}

/** Whether a first row without the names that are needed is of other names: words, of which none is a file. */
async function looksLikeHeader(folder: string, row: readonly string[]): Promise<boolean> {
  if (row.some((cell) => isImage(cell) || /^-?\d+$/.test(cell))) return false;
  const places = row.filter((cell) => cell !== "").map((cell) => resolve(folder, cell));
  const found = await Promise.all(places.map((place) => stat(place).catch(() => null)));
  return !found.some((info) => info?.isFile());
}

async function parseRows(file: string, text: string): Promise<Row[]> {
  const { CsvError, parse } = await import("csv-parse/sync");
  const [first] = text.split("\n", 1);
  const delimiter = [",", ";", "\t"].find((character) => first.includes(character)) ?? ",";
  let records: { record: string[]; info: { lines: number } }[];
  try {
    records = parse(text, {
      delimiter,
      info: true,
      trim: true,
      skip_empty_lines: true,
      relax_column_count: true,
    }) as never;
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new UserError(`${file} is no CSV file: ${cause.message}.`, { cause });
  }
  const header = records[0]?.record.map((cell) => cell.toLowerCase());
  const lacking = (["path", "pid"] as const).filter((column) => !header?.includes(column));
  const named = lacking.length === 0;
  if (!named && records.length > 0 && (await looksLikeHeader(dirname(file), records[0].record))) {
    throw new UserError(
      `${file} has no column${lacking.length > 1 ? "s" : ""} ${lacking.join(" and ")}; found ${records[0].record.join(", ")}. ${HELP}.`,
    );
  }
  const place = (column: keyof Row) => (named ? header!.indexOf(column) : COLUMNS.indexOf(column));
  const rows = records.slice(named ? 1 : 0).map(({ record, info }) => {
    const cell = (column: keyof Row) => record[place(column)] ?? "";
    return {
      path: cell("path"),
      pid: cell("pid"),
      camid: cell("camid"),
      subset: cell("subset").toLowerCase(),
      line: info.lines,
    };
  });
  const sorted = rows.find(({ subset }) => subset !== "");
  for (const row of rows) {
    const problem =
      (row.path === "" && "no path") ||
      (row.pid === "" && "no pid") ||
      (row.subset !== "" && !LISTS.includes(row.subset) && `the subset "${row.subset}"`) ||
      (row.subset === "" && sorted && `no subset, while line ${sorted.line} has one; it would be in no list`);
    if (problem) throw new UserError(`${file}, line ${row.line}: ${problem}. ${HELP}.`);
  }
  return rows;
}

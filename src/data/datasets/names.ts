/** Identities and cameras from names: of files, of folders, of cells in a list. */
import { JUNK_PID } from "./types.js";

/** `0001_c1s1_001051_00.jpg` (Market-1501), `0002_c1_f0044158.jpg` (DukeMTMC-reID), `-1_c1s1_...jpg` (junk). */
const MARKET = /^(-?\d+)_c(\d+)/;
/** `1_001_1_01.png`: pair of cameras, person of the pair, camera of the pair, image (CUHK03, as torchreid names them). */
const CUHK03 = /^(\d)_(\d{3})_(\d)_(\d{2})\./;
/** `0000_000_01_0303morning_0015_0.jpg`: person, image, camera, time (MSMT17). */
const MSMT17 = /^\d{4}_\d{3}_(\d{2})_/;

export interface NameFields {
  pid: number;
  camid: number;
}

export function marketName(name: string): NameFields | null {
  const [, pid, camid] = MARKET.exec(name) ?? [];
  return pid === undefined ? null : { pid: Number(pid), camid: Number(camid) };
}

/** The people of CUHK03 are numbered within a pair of cameras, by three digits. */
export function cuhk03Name(name: string): NameFields | null {
  const [, pair, person, view] = CUHK03.exec(name) ?? [];
  return pair === undefined ? null : { pid: 1000 * Number(pair) + Number(person), camid: Number(view) };
}

/** Which boxes of CUHK03 a folder is named for; null where it is for neither. */
export function cuhk03Kind(folder: string): "detected" | "labeled" | null {
  if (/^detected$/i.test(folder)) return "detected";
  return /^label?led$/i.test(folder) ? "labeled" : null;
}

export function msmt17Camera(name: string): number | null {
  const [, camera] = MSMT17.exec(name) ?? [];
  return camera === undefined ? null : Number(camera);
}

/** The camera in a name of any of these datasets; null where there is none. */
export const cameraOf = (name: string): number | null =>
  marketName(name)?.camid ?? cuhk03Name(name)?.camid ?? msmt17Camera(name);

const WHOLE = /^\d+$/;
/** pids are kept as 32-bit numbers. */
const LARGEST = 2 ** 31 - 1;

/**
 * Numbers for names, whatever they are: whole numbers of at least `least` stand for themselves if all names are such, and
 * differ; else all are numbered from `least` in their order, numbers first and by value. Equal sets of names get equal
 * numbers.
 */
export function numberNames(names: Iterable<string>, least: 0 | 1): Map<string, number> {
  const sorted = [...new Set(names)].sort(byValueThenText);
  const values = sorted.map((name) => (WHOLE.test(name) ? Number(name) : Number.NaN));
  const asTheyAre =
    values.every((value) => value >= least && value <= LARGEST) && new Set(values).size === values.length;
  return new Map(sorted.map((name, i) => [name, asTheyAre ? values[i] : least + i]));
}

function byValueThenText(a: string, b: string): number {
  const [x, y] = [WHOLE.test(a), WHOLE.test(b)];
  if (x !== y) return x ? -1 : 1;
  return (x ? Number(a) - Number(b) : 0) || (a < b ? -1 : Number(a > b));
}

/** Numbers for the names of people; `-1` is junk, as in every published layout. `0` is a person. */
export function numberPeople(names: Iterable<string>): Map<string, number> {
  const junk = String(JUNK_PID);
  const all = new Set(names);
  const isJunk = all.delete(junk);
  const people = numberNames(all, 1);
  return isJunk ? people.set(junk, JUNK_PID) : people;
}

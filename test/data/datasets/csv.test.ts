import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { formatDatasetTable, loadDataset, unexcluded } from "#src/data/dataset.js";
import { put, userError, withFolder } from "../helpers.js";

async function putList(root: string, text: string, images: readonly string[]): Promise<string> {
  for (const image of images) await put(join(root, image), image);
  const file = join(root, "people.csv");
  await put(file, text);
  return file;
}

test("quotes, a byte order mark, CRLF, any order of columns, names of people and cameras", () =>
  withFolder(async (root) => {
    const text =
      '\uFEFFCamid,subset,path,note,PID\r\nhall,train,"a, ""b"".jpg",x,Zoë\r\ngate,query,q.jpg,,anna\r\n' +
      "hall,gallery,sub/g.jpg,,anna\r\n\r\nhall,gallery,j.jpg,,-1\r\nhall,multi-query,m.jpg,,anna\r\n";
    const file = await putList(root, text, ['a, "b".jpg', "q.jpg", "sub/g.jpg", "j.jpg", "m.jpg"]);
    const dataset = await loadDataset(file, undefined, { multiQuery: true });
    assert.equal([dataset.layout, dataset.name, dataset.root], ["csv", "people", root]);
    const fields = ({ path, name, pid, camid }: (typeof dataset.train)[number]) => [path, name, pid, camid];
    assert.equal(dataset.train.map(fields), [[join(root, 'a, "b".jpg'), 'a, "b".jpg', 1, 1]]);
    assert.equal(dataset.query.map(fields), [[join(root, "q.jpg"), "q.jpg", 2, 0]]);
    assert.equal(dataset.gallery.map(fields), [
      [join(root, "sub/g.jpg"), "sub/g.jpg", 2, 1],
      [join(root, "j.jpg"), "j.jpg", -1, 1],
    ]);
    assert.equal(dataset.multiQuery.map(fields), [[join(root, "m.jpg"), "m.jpg", 2, 1]]);
    assert.is(unexcluded(dataset), null);
  }));

test("no header, no cameras, no subsets: each against all others", () =>
  withFolder(async (root) => {
    const file = await putList(root, "a.jpg;7\nb.jpg;7\nc.jpg;12\n", ["a.jpg", "b.jpg", "c.jpg"]);
    const dataset = await loadDataset(file, ["query", "gallery"]);
    assert.equal(
      dataset.query.map(({ pid }) => pid),
      [7, 7, 12],
    );
    assert.is(new Set(dataset.query.map(({ camid }) => camid)).size, 3);
    assert.match(unexcluded(dataset) ?? "", "3 of 3 queries");
    assert.match(formatDatasetTable(dataset), "every image is a query against all others");
    assert.equal((await loadDataset(file, ["train"])).query, []);
  }));

test("some cameras only: the others are counted", () =>
  withFolder(async (root) => {
    const text = "path,pid,camid,subset\na.jpg,1,3,query\nb.jpg,1,,query\nc.jpg,1,4,gallery\nd.jpg,1,-1,query\n";
    const images = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"];
    const { query, gallery } = await loadDataset(await putList(root, text, images), ["query", "gallery"]);
    assert.equal([query[0].camid, gallery[0].camid], [3, 4]);
    assert.ok(query[1].camid < 0 && query[2].camid < 0 && query[1].camid !== query[2].camid);
    assert.match(unexcluded({ query }) ?? "", "camera of 2 of 3 queries");
  }));

test("what is wrong is named with its line", () =>
  withFolder(async (root) => {
    const refused = async (text: string, expected: RegExp | string, needed?: "query"[]) =>
      assert.match(
        (await userError(async () => loadDataset(await putList(root, text, ["a.jpg"]), needed))).message,
        expected,
      );
    await refused("", /people\.csv lists no image/);
    await refused("path,pid\na.jpg,\n", /line 2: no pid/);
    await refused("path,pid\na.jpg,1\n,1\n", /line 3: no path/);
    await refused("path,pid,camid,subset\na.jpg,1,2,tset\n", /line 2: the subset "tset"/);
    // A row without a subset would be in no list, whether its column is empty or not there.
    await refused("path,pid,camid,subset\na.jpg,1,2,train\na.jpg,2,,\n", /line 3: no subset, while line 2 has one/);
    await refused("a.jpg,1\na.jpg,2,1,query\n", /line 1: no subset, while line 2 has one/);
    await refused('path,pid\n"a.jpg,1\n', /people\.csv is no CSV file/);
    await refused("path,pid\na.jpg,1\nnone.jpg,1\n", /names 2 images, 1 of which are not there: .*none\.jpg/);
    await refused("path,pid,camid,subset\na.jpg,1,2,train\n", "lists no image of the subset query", ["query"]);
    // A header of other names is no image; a row of data is no header, though its file is missing.
    await refused(
      "image,person,camera\na.jpg,1,2\n",
      /has no columns path and pid; found image, person, camera\. Expected/,
    );
    await refused("Path;Label\na.jpg;1\n", /has no column pid; found Path, Label\./);
    await refused("pid,file,split\n1,a.jpg,train\n", /has no column path; found pid, file, split\./);
    await refused("path\na.jpg\n", /has no column pid; found path\./);
    await refused("anna.jpg,anna\na.jpg,bo\n", /1 of which are not there: .*anna\.jpg/);
    await refused("crops/anna,7\na.jpg,8\n", /1 of which are not there: .*anna/);
    await put(join(root, "picture"));
    const { train } = await loadDataset(await putList(root, "picture,anna\na.jpg,bo\n", ["a.jpg"]), ["train"]);
    assert.is(train.length, 2);
    await put(join(root, "list.txt"), "a.jpg,1");
    assert.match((await userError(() => loadDataset(join(root, "list.txt")))).message, "list.txt is a file");
    assert.match((await userError(() => loadDataset(root, ["train"], { layout: "csv" }))).message, root);
  }));

test.run();

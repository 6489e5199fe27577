// Reads a store over HTTP as a page in a browser would, and prints as JSON what it found: for test_zarrita.py.
import * as zarr from "zarrita";

const url = process.argv[2];
const plain = ({ data, shape }) => ({ shape, data: Array.from(data, Number).map((v) => (Number.isNaN(v) ? null : v)) });

async function consolidated(address) {
  const store = await zarr.withConsolidatedMetadata(new zarr.FetchStore(address), { format: "v3" });
  return { contents: store.contents(), root: await zarr.open(store, { kind: "group" }) };
}

async function values(root, path, selection = null) {
  const array = await zarr.open(root.resolve(path), { kind: "array" });
  return { chunks: array.chunks, attrs: array.attrs, ...plain(await zarr.get(array, selection)) };
}

const { contents, root } = await consolidated(url);
const found = { paths: contents.map((one) => one.path), attrs: root.attrs, rows: {}, levels: [] };
for (const name of ["time", "x", "y"]) found[name] = await values(root, name);
for (const name of ["water_mask", "reason"]) found.rows[name] = await values(root, name, [1, null, zarr.slice(0, 40)]);

for (const [number, level] of root.attrs.multiscales.layout.entries()) {
  const group = number ? (await consolidated(`${url}/${level.asset}`)).root : root.resolve(level.asset);
  const one = { shape: level["spatial:shape"] };
  for (const name of ["x", "y", "count_wet", "water_frequency", "lake_label"]) one[name] = await values(group, name);
  found.levels.push(one);
}

const key = "/water_mask/c/1/0/0";
const files = new zarr.FetchStore(url);
const [whole, part] = [await files.get(key), await files.getRange(key, { offset: 3, length: 9 })];
found.part = { bytes: Array.from(part), expected: Array.from(whole.slice(3, 12)) };
console.log(JSON.stringify(found));

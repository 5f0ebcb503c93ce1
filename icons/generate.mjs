// Makes every generated icon of this folder from its SVG sources: `node icons/generate.mjs`.
// Needs `rsvg-convert` (Debian: librsvg2-bin). The results are committed; run it after a change of a source.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const png = (source, size) =>
  execFileSync("rsvg-convert", ["-w", String(size), "-h", String(size), here(`${source}.svg`)], {
    maxBuffer: 1 << 26,
  });

const TRAY = ["tray-signed-out", "tray-connected", "tray-attention"];
for (const source of TRAY) writeFileSync(here(`${source}.png`), png(source, 64));

const APP = { "32x32.png": 32, "128x128.png": 128, "128x128@2x.png": 256, "512x512.png": 512 };
for (const [name, size] of Object.entries(APP)) writeFileSync(here(name), png("postern", size));

writeFileSync(here("postern.ico"), ico([16, 20, 24, 32, 48, 64, 256].map((size) => [size, png("postern", size)])));
// The types of the icns format that hold PNG, and their sizes in pixels.
const ICNS = { icp4: 16, icp5: 32, ic07: 128, ic08: 256, ic09: 512, ic10: 1024, ic11: 32, ic12: 64, ic13: 256, ic14: 512 };
writeFileSync(here("postern.icns"), icns(Object.entries(ICNS).map(([type, size]) => [type, png("postern", size)])));

/** A header, one entry of 16 bytes per image, then the images; 256 pixels are written as 0. */
function ico(images) {
  const head = Buffer.alloc(6 + 16 * images.length);
  head.writeUInt16LE(1, 2);
  head.writeUInt16LE(images.length, 4);
  let offset = head.length;
  images.forEach(([size, data], index) => {
    const at = 6 + 16 * index;
    head.writeUInt8(size % 256, at);
    head.writeUInt8(size % 256, at + 1);
    head.writeUInt16LE(1, at + 4);
    head.writeUInt16LE(32, at + 6);
    head.writeUInt32LE(data.length, at + 8);
    head.writeUInt32LE(offset, at + 12);
    offset += data.length;
  });
  return Buffer.concat([head, ...images.map(([, data]) => data)]);
}

/** Chunks of type, length with these eight bytes, data; the whole file is such a chunk. */
function icns(images) {
  const chunk = (type, data) => {
    const head = Buffer.alloc(8);
    head.write(type, 0, "ascii");
    head.writeUInt32BE(data.length + 8, 4);
    return Buffer.concat([head, data]);
  };
  return chunk("icns", Buffer.concat(images.map(([type, data]) => chunk(type, data))));
}

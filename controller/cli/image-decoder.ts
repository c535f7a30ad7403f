/**
 * Decodes pictures with sharp (libvips): JPEG, PNG, WebP, GIF, TIFF and AVIF, turned as their EXIF data says,
 * without transparency. jpeg-js and pngjs need no native library, but know two formats and do not resize.
 *
 * Invariants: a file of more than 64 MB or more than 100 million pixels is refused before it is decoded; what is
 * cut short or damaged is refused, not filled with grey.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import type { Decode } from "../images/golden-from-images.ts";
import type { Picture } from "../images/preprocessing.ts";

const fileBytesMax = 64_000_000;
const pixelsMax = 100_000_000;
/** Bilinear with antialiasing, which most training pipelines use. */
const kernel = sharp.kernel.linear;

export function decoderIn(folder: string): Decode {
  return async (relative, picture) => {
    const path = join(folder, relative);
    const { size } = statSync(path);
    if (size > fileBytesMax) throw new Error(`${size} bytes are more than ${fileBytesMax}`);
    const opened = sharp(path, { limitInputPixels: pixelsMax, failOn: "error", pages: 1 });
    const { data, info } = await (await resized(opened, picture))
      .flatten({ background: "black" })
      .toColourspace(picture.channels === 1 ? "b-w" : "srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    const wanted = picture.height * picture.width * picture.channels;
    if (data.length !== wanted) {
      throw new Error(`it decodes to ${info.width} × ${info.height} × ${info.channels}`);
    }
    return picture.order === "bgr" && picture.channels === 3 ? swapped(data) : data;
  };
}

async function resized(image: Sharp, picture: Picture): Promise<Sharp> {
  const { height, width, resizeTo, fit } = picture;
  const upright = image.autoOrient();
  if (resizeTo === undefined) {
    return upright.resize({ width, height, fit, kernel, background: "black" });
  }
  // The shorter side becomes `resizeTo`, then the middle is cut out, as image classifiers are evaluated.
  const { autoOrient: size } = await image.metadata();
  const factor = resizeTo / Math.min(size.width, size.height);
  const [wide, high] = [Math.round(size.width * factor), Math.round(size.height * factor)];
  return upright
    .resize({ width: wide, height: high, fit: "fill", kernel })
    .extract({ left: (wide - width) >> 1, top: (high - height) >> 1, width, height });
}

function swapped(rgb: Uint8Array): Uint8Array {
  const bgr = new Uint8Array(rgb.length);
  for (let at = 0; at < rgb.length; at += 3) {
    bgr[at] = rgb[at + 2]!;
    bgr[at + 1] = rgb[at + 1]!;
    bgr[at + 2] = rgb[at]!;
  }
  return bgr;
}

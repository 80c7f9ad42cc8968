/** Photos of the field: checked by their first bytes and made small enough before they leave the phone. */

/** What the hub takes, in bytes. */
export const MAX_PHOTO_BYTES = 4 * 1024 * 1024;
/** Photos of one entry. */
export const MAX_PHOTOS = 10;
/** The longer edge that still shows a manhole's plate, in pixels. */
const MAX_EDGE = 2048;
/** Below this a photo goes as it is, in bytes. */
const SMALL_ENOUGH = 1024 * 1024;

export type PhotoFault = "photo_type" | "photo_large" | "photo_broken";

/** Types that a browser shows and cannot run, by their first bytes. Nothing for any other. */
export function photoType(start: Uint8Array): "image/jpeg" | "image/png" | "image/webp" | null {
  const has = (at: number, bytes: readonly number[]): boolean => bytes.every((byte, i) => start[at + i] === byte);
  if (has(0, [0xff, 0xd8, 0xff])) return "image/jpeg";
  if (has(0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return "image/png";
  if (has(0, [0x52, 0x49, 0x46, 0x46]) && has(8, [0x57, 0x45, 0x42, 0x50])) return "image/webp";
  return null;
}

/** A photo as it can be sent, or why it cannot. */
export async function preparePhoto(file: Blob): Promise<Blob | PhotoFault> {
  const type = photoType(new Uint8Array(await file.slice(0, 16).arrayBuffer()));
  if (type === null) return "photo_type";
  if (file.size <= SMALL_ENOUGH) return new Blob([file], { type });
  try {
    const smaller = await shrink(file);
    if (smaller.size > MAX_PHOTO_BYTES) return "photo_large";
    return smaller.size < file.size ? smaller : new Blob([file], { type });
  } catch {
    return file.size <= MAX_PHOTO_BYTES ? new Blob([file], { type }) : "photo_broken";
  }
}

async function shrink(file: Blob): Promise<Blob> {
  const image = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, MAX_EDGE / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  return new Promise((done, fail) => {
    canvas.toBlob((blob) => (blob === null ? fail(new Error("no blob")) : done(blob)), "image/jpeg", 0.85);
  });
}

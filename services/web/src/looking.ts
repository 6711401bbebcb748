/** What a model is shown: a picture of the user's or the webcam, and why it can't be, in words for a person. */
import { ApiError } from "./api";
import type { Pixels } from "./detector";
import { texts } from "./texts";

/** More bytes than that no camera's picture has. */
export const MOST_BYTES = 50_000_000;
/** A browser holds four bytes of memory for each pixel, twice. */
export const MOST_PIXELS = 50_000_000;

/** Reads a picture, turned as its camera was held. Rejects with an ApiError; the caller closes what it gets. */
export async function readPicture(file: Blob, name: string): Promise<ImageBitmap> {
  if (file.size > MOST_BYTES) throw new ApiError(0, "bytes", texts.tryIt.tooLarge(name, file.size, MOST_BYTES));
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new ApiError(0, "no-picture", texts.tryIt.notPicture(name));
  }
  const { width, height } = bitmap;
  if (width * height <= MOST_PIXELS) return bitmap;
  bitmap.close();
  throw new ApiError(0, "pixels", texts.tryIt.tooManyPixels(name, width, height, MOST_PIXELS));
}

/** The webcam, once the user has allowed it. Rejects with an ApiError; the caller stops its tracks. */
export async function openCamera(devices: MediaDevices | undefined): Promise<MediaStream> {
  // Browsers keep it from pages that came over plain HTTP.
  if (devices === undefined) throw new ApiError(0, "insecure", texts.tryIt.cameraInsecure);
  try {
    return await devices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 } } });
  } catch (error) {
    throw new ApiError(0, "camera", cameraProblem(error));
  }
}

/** Why there is no webcam, by the names that browsers give the reasons. */
export function cameraProblem(error: unknown): string {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return texts.tryIt.cameraRefused;
  if (name === "NotFoundError" || name === "NotReadableError") return texts.tryIt.cameraMissing;
  return texts.tryIt.cameraFailed(error instanceof Error ? error.message : String(error));
}

/** The pixels of a picture or of a video's present frame; `canvas` is drawn over. */
export function pixelsOf(
  source: ImageBitmap | HTMLVideoElement,
  width: number,
  height: number,
  canvas: HTMLCanvasElement,
): Pixels {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  if (context === null) throw new ApiError(0, "canvas", texts.tryIt.noCanvas);
  context.drawImage(source, 0, 0);
  return { rgba: context.getImageData(0, 0, width, height).data, size: { width, height } };
}

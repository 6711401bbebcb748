/** What a .tflite file says of itself: how a pixel becomes the number that it takes. Pure. */
import { ByteBuffer } from "flatbuffers";

/** A pixel in 0..255 becomes (pixel - mean) / std. */
export interface Normalisation {
  mean: number;
  std: number;
}

/** What readers assume of a file that doesn't say it: numbers in -1..1. */
export const CUSTOMARY: Normalisation = { mean: 127.5, std: 127.5 };

const NORMALIZATION_OPTIONS = 1;

/** True for bytes that begin as every TFLite file does. */
export function isModelFile(file: Uint8Array): boolean {
  return file.length > 8 && new TextDecoder().decode(file.subarray(4, 8)) === "TFL3";
}

/**
 * The normalisation in the file's TFLite Metadata, the customary one without any.
 *
 * Slots are counted in the order of the published schemas (schema.fbs, metadata_schema.fbs).
 */
export function normalisation(file: Uint8Array): Normalisation {
  const model = root(new ByteBuffer(file));
  const buffers = model.tables(4);
  for (const entry of model.tables(6)) {
    if (entry.text(0) !== "TFLITE_METADATA") continue;
    const content = buffers[entry.uint(1)]?.bytes(0);
    if (content === undefined) continue;
    const graph = root(new ByteBuffer(content)).tables(3)[0];
    const units = graph?.tables(2)[0]?.tables(4) ?? [];
    const options = units.find((unit) => unit.byte(0) === NORMALIZATION_OPTIONS)?.table(1);
    const [mean, std] = [options?.float(0), options?.float(1)];
    if (mean !== undefined && std !== undefined) return { mean, std };
  }
  return CUSTOMARY;
}

function root(buffer: ByteBuffer): Table {
  const start = buffer.position();
  return new Table(buffer, start + buffer.readInt32(start));
}

/** A table of a flatbuffer, read by slot number; what isn't there is undefined, 0 or empty. */
class Table {
  constructor(
    private readonly buffer: ByteBuffer,
    private readonly at: number,
  ) {}

  table(slot: number): Table | undefined {
    const place = this.place(slot);
    return place === 0 ? undefined : new Table(this.buffer, this.buffer.__indirect(place));
  }

  tables(slot: number): Table[] {
    const [start, length] = this.vector(slot);
    return Array.from({ length }, (_, index) => new Table(this.buffer, this.buffer.__indirect(start + 4 * index)));
  }

  text(slot: number): string {
    const place = this.place(slot);
    return place === 0 ? "" : String(this.buffer.__string(place));
  }

  bytes(slot: number): Uint8Array {
    const [start, length] = this.vector(slot);
    return this.buffer.bytes().slice(start, start + length);
  }

  uint(slot: number): number {
    const place = this.place(slot);
    return place === 0 ? 0 : this.buffer.readUint32(place);
  }

  byte(slot: number): number {
    const place = this.place(slot);
    return place === 0 ? 0 : this.buffer.readUint8(place);
  }

  /** The first number of a vector of floats. */
  float(slot: number): number | undefined {
    const [start, length] = this.vector(slot);
    return length === 0 ? undefined : this.buffer.readFloat32(start);
  }

  private place(slot: number): number {
    const offset = this.buffer.__offset(this.at, 4 + 2 * slot);
    return offset === 0 ? 0 : this.at + offset;
  }

  private vector(slot: number): [start: number, length: number] {
    const place = this.place(slot);
    return place === 0 ? [0, 0] : [this.buffer.__vector(place), this.buffer.__vector_len(place)];
  }
}

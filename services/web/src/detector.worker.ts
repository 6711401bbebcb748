/**
 * Runs one exported model with LiteRT, apart from the page, so that nothing there waits for it.
 *
 * A classic worker, as LiteRT fetches its WebAssembly by `importScripts`. The gateway lets this script alone run
 * WebAssembly; the page itself may not.
 */
import { type CompiledModel, loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "@litertjs/core";
import compatScript from "@litertjs/core/wasm/litert_wasm_compat_internal.js?url";
import compatCode from "@litertjs/core/wasm/litert_wasm_compat_internal.wasm?url";
import script from "@litertjs/core/wasm/litert_wasm_internal.js?url";
import code from "@litertjs/core/wasm/litert_wasm_internal.wasm?url";
import { toInput } from "./detections";
import type { Asked, Pixels, Told } from "./detector";
import { isModelFile, normalisation, type Normalisation } from "./model-file";
import { resize, type Size } from "./resize";

interface Scope {
  onmessage: (event: MessageEvent<Asked>) => void;
  postMessage: (message: Told) => void;
  /** What LiteRT's script asks: where its WebAssembly is, and what to do with its diary. */
  Module?: { locateFile: () => string; print: () => void; printErr: () => void };
}

/** The names that our exporter gives the outputs. */
const OUTPUTS = ["detection_boxes", "detection_classes", "detection_scores", "num_detections"] as const;

const scope = self as unknown as Scope;
let model: CompiledModel;
let input: { name: string; shape: Int32Array; size: Size };
let pixels: Normalisation;

async function load(file: Uint8Array): Promise<Told> {
  if (!isModelFile(file)) return { kind: "refused", reason: "no-model" };
  const relaxed = await supportsFeature("relaxedSimd");
  scope.Module = { locateFile: () => (relaxed ? code : compatCode), print: () => {}, printErr: () => {} };
  await loadLiteRt(relaxed ? script : compatScript);
  pixels = normalisation(file);
  model = await loadAndCompile(file, { accelerator: "wasm" });
  const [taken, ...others] = model.getInputDetails();
  const [batch, height = 0, width = 0, channels] = taken?.shape ?? [];
  const given = new Map(model.getOutputDetails().map((output) => [output.name, output]));
  if (batch !== 1 || channels !== 3 || taken?.dtype !== "float32" || others.length > 0 || !OUTPUTS.every(has(given))) {
    return { kind: "refused", reason: "no-detector" };
  }
  // LiteRT makes room for the outputs as the file says, and writes beyond it where the file says nothing.
  if (OUTPUTS.some((name) => given.get(name)?.shape.length === 0)) return { kind: "refused", reason: "old-file" };
  input = { name: taken.name, shape: taken.shape, size: { width, height } };
  return { kind: "loaded" };
}

function has(known: ReadonlyMap<string, unknown>): (name: string) => boolean {
  return (name) => known.has(name);
}

async function detect({ rgba, size }: Pixels): Promise<Told> {
  const began = performance.now();
  const given = new Tensor(toInput(resize(rgba, size, input.size), pixels), input.shape);
  const said = await model.run({ [input.name]: given });
  const [boxes = [], classes = [], scores = [], count = []] = OUTPUTS.map((name) => said[name]?.toTypedArray().slice());
  for (const tensor of [given, ...Object.values(said)]) tensor.delete();
  const outputs = { boxes, classes, scores, count: count[0] ?? 0 };
  return { kind: "detected", outputs, milliseconds: performance.now() - began };
}

scope.onmessage = ({ data }) => {
  const answer = data.kind === "load" ? load(data.file) : detect(data.pixels);
  answer.then(
    (told) => scope.postMessage(told),
    (error: unknown) => scope.postMessage({ kind: "failed", message: String(error) }),
  );
};

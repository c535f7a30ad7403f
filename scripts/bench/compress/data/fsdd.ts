/**
 * Spoken digits as log-mel spectrograms: clip / max|clip|; 48 frames of 256 samples, hop 128, symmetric Hann
 * window; power spectrum; 32 triangular mel filters from 60 to 3,900 Hz on the bins of the transform;
 * log(x + 0.001).
 */
import type { LabelledSamples } from "../subject.ts";
import { sharedBytes } from "./shared-files.ts";

const sampleRateHz = 8000;
const frameLength = 256;
const hop = 128;
const frames = 48;
const bins = frameLength / 2 + 1;
const filters = 32;
const lowestHz = 60;
const highestHz = 3900;
const clipLength = frameLength + hop * (frames - 1);

/** float32 [N, 1, 32, 48]. */
export function spokenDigits(part: "train" | "test"): LabelledSamples {
  const bytes = sharedBytes("data", "fsdd-spoken-digits", `${part}.pcm16le.gz`);
  const text = new TextDecoder().decode(sharedBytes("data", "fsdd-spoken-digits", `${part}.json`));
  const { clips } = JSON.parse(text) as { clips: [number, number, number, number][] };
  const samples = new Int16Array(bytes.buffer);
  const bank = melFilters();
  const window = Float64Array.from(
    { length: frameLength },
    (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / (frameLength - 1)),
  );
  const data = new Float32Array(clips.length * filters * frames);
  clips.forEach(([start, length], clip) => {
    const image = data.subarray(clip * filters * frames, (clip + 1) * filters * frames);
    logMel(samples.subarray(start, start + length), { window, bank, image });
  });
  return { data, count: clips.length, labels: clips.map(([, , label]) => label) };
}

function logMel(
  clip: Int16Array,
  into: { window: Float64Array; bank: readonly Float64Array[]; image: Float32Array },
): void {
  const loudest = clip.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const padded = new Float64Array(clipLength);
  for (let at = 0; at < Math.min(clip.length, clipLength); at++) padded[at] = clip[at]! / loudest;
  for (let frame = 0; frame < frames; frame++) {
    const windowed = into.window.map((weight, at) => weight * padded[frame * hop + at]!);
    const power = powerSpectrum(windowed);
    into.bank.forEach((filter, row) => {
      const energy = filter.reduce((sum, weight, bin) => sum + weight * power[bin]!, 0);
      into.image[row * frames + frame] = Math.log(energy + 1e-3);
    });
  }
}

/** |X(k)|² for k = 0 … N/2 by the radix-2 transform (Cooley and Tukey 1965). */
function powerSpectrum(signal: Float64Array): Float64Array {
  const n = signal.length;
  const real = new Float64Array(n);
  const imaginary = new Float64Array(n);
  const bits = Math.log2(n);
  for (let at = 0; at < n; at++) {
    let reversed = 0;
    for (let bit = 0; bit < bits; bit++) reversed |= ((at >> bit) & 1) << (bits - 1 - bit);
    real[reversed] = signal[at]!;
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let start = 0; start < n; start += size) {
      for (let at = 0; at < size / 2; at++) {
        const angle = (-2 * Math.PI * at) / size;
        const [low, high] = [start + at, start + at + size / 2];
        const re = real[high]! * Math.cos(angle) - imaginary[high]! * Math.sin(angle);
        const im = real[high]! * Math.sin(angle) + imaginary[high]! * Math.cos(angle);
        [real[high], imaginary[high]] = [real[low]! - re, imaginary[low]! - im];
        [real[low], imaginary[low]] = [real[low]! + re, imaginary[low]! + im];
      }
    }
  }
  return Float64Array.from({ length: bins }, (_, k) => real[k]! ** 2 + imaginary[k]! ** 2);
}

/** Triangles that are evenly spaced in mel = 2595 · log10(1 + f / 700). */
function melFilters(): Float64Array[] {
  const mel = (hz: number): number => 2595 * Math.log10(1 + hz / 700);
  const hz = (value: number): number => 700 * (10 ** (value / 2595) - 1);
  const [low, high] = [mel(lowestHz), mel(highestHz)];
  const corners = Array.from({ length: filters + 2 }, (_, at) =>
    hz(low + ((high - low) * at) / (filters + 1)),
  );
  return Array.from({ length: filters }, (_, filter) => {
    const [left, centre, right] = corners.slice(filter, filter + 3) as [number, number, number];
    return Float64Array.from({ length: bins }, (_, bin) => {
      const frequency = (bin * sampleRateHz) / frameLength;
      const rising = (frequency - left) / (centre - left);
      const falling = (right - frequency) / (right - centre);
      return Math.max(0, Math.min(rising, falling));
    });
  });
}

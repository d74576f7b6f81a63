import { Random } from "./random.js";
import { clamp, type Vec3 } from "./vector.js";

export type SceneFamily = (typeof SCENE_FAMILIES)[number];

/** One camera of the network: where it hangs, what it sees behind people, and how it renders light. */
export interface Camera {
  scene: SceneFamily;
  /** Looks down by `pitch` radians from `distance` metres. */
  pitch: number;
  distance: number;
  light: Vec3;
  /** Tone: channel gains (illumination and cast), contrast about mid-grey, gamma, saturation. */
  gain: Vec3;
  contrast: number;
  gamma: number;
  saturation: number;
  /** Standard deviations: of the blur in pixels of a picture 128 high, of the noise in 0..1. */
  blur: number;
  noise: number;
  /** Taken off the JPEG quality. */
  compression: number;
  /** Probability that something stands before a person. */
  occlusion: number;
}

const SCENE_FAMILIES = ["street", "wall", "park", "hall", "clutter"] as const;

/** Camera `index` (from 0) of the world that `seed` names. */
export function createCamera(seed: number, index: number): Camera {
  const random = new Random(seed, "camera", index);
  const first = new Random(seed, "scenes").below(SCENE_FAMILIES.length);
  const gain = random.between(0.8, 1.15);
  const warmth = clamp(random.normal(0, 0.06), -0.12, 0.12);
  const tint = clamp(random.normal(0, 0.025), -0.05, 0.05);
  return {
    scene: SCENE_FAMILIES[(first + index) % SCENE_FAMILIES.length],
    pitch: random.between(0.05, 0.5),
    distance: random.between(4.5, 10),
    light: [random.between(-1, 1), random.between(0.3, 1), random.between(-0.3, 1)],
    gain: [gain * (1 + warmth), gain * (1 + tint), gain * (1 - warmth)],
    contrast: random.between(0.85, 1.2),
    gamma: random.between(0.85, 1.2),
    saturation: random.between(0.8, 1.2),
    blur: random.between(0.3, 0.85),
    noise: random.between(0.006, 0.03),
    compression: Math.round(random.between(0, 30)),
    occlusion: random.between(0, 0.16),
  };
}

/** What the camera makes of the light that reaches it, [height, width, 3] in 0..1: bytes of the same shape. */
export function expose(light: Float32Array, height: number, width: number, camera: Camera, random: Random): Uint8Array {
  // The light of the day and the focus vary a little from shot to shot.
  const day = clamp(random.normal(1, 0.06), 0.85, 1.15);
  const blur = (camera.blur * random.between(0.7, 1.5) * height) / 128;
  const toned = new Float32Array(light.length);
  for (let i = 0; i < light.length; i += 3) {
    const grey = 0.299 * light[i] + 0.587 * light[i + 1] + 0.114 * light[i + 2];
    for (let channel = 0; channel < 3; channel++) {
      const colored = grey + camera.saturation * (light[i + channel] - grey);
      const exposed = Math.max(0, colored * camera.gain[channel] * day) ** camera.gamma;
      toned[i + channel] = 0.5 + camera.contrast * (exposed - 0.5);
    }
  }
  const soft = gaussianBlur(toned, height, width, blur);
  const bytes = new Uint8Array(light.length);
  for (let i = 0; i < soft.length; i++) {
    // Uniform noise of that deviation: after rounding and JPEG nothing tells it from a Gaussian, and it costs far less.
    const noise = Math.sqrt(12) * (random.unit() - 0.5) * camera.noise;
    bytes[i] = clamp(Math.round(255 * (soft[i] + noise)), 0, 255);
  }
  return bytes;
}

/** Separable Gaussian blur of [height, width, 3], edges repeated. */
function gaussianBlur(image: Float32Array, height: number, width: number, sigma: number): Float32Array {
  const radius = Math.ceil(2.5 * sigma);
  const kernel = Float64Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)),
  );
  const total = kernel.reduce((sum, value) => sum + value, 0);
  const pass = (source: Float32Array, vertical: boolean): Float32Array => {
    const target = new Float32Array(source.length);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const at = (row * width + column) * 3;
        for (let k = -radius; k <= radius; k++) {
          const weight = kernel[k + radius] / total;
          const y = vertical ? clamp(row + k, 0, height - 1) : row;
          const x = vertical ? column : clamp(column + k, 0, width - 1);
          const from = (y * width + x) * 3;
          target[at] += weight * source[from];
          target[at + 1] += weight * source[from + 1];
          target[at + 2] += weight * source[from + 2];
        }
      }
    }
    return target;
  };
  return pass(pass(image, true), false);
}

import type { Person } from "./person.js";
import type { Random } from "./random.js";
import { add, normalize, scale, type Vec3 } from "./vector.js";

/** Angles in radians. Everything that changes from picture to picture in the body itself. */
export interface Pose {
  /** Place in the walking cycle; the legs swing by `stride` about the hip, the arms by `swing` about the shoulder. */
  phase: number;
  stride: number;
  swing: number;
  /** Forward bend and sideways tilt of the trunk. */
  lean: number;
  tilt: number;
  head: { yaw: number; nod: number };
  arms: { left: ArmPose; right: ArmPose };
}

interface ArmPose {
  /** `swinging` follows the walk; the others hold `raise` (upper arm forward) and `elbow` (bend). */
  swinging: boolean;
  raise: number;
  elbow: number;
  /** Away from the body, sideways. */
  spread: number;
}

/** Joints in the body frame: x to the person's left, y up from the ground, z forward; metres. */
export interface Skeleton {
  pelvis: Vec3;
  waist: Vec3;
  shoulders: Vec3;
  neck: Vec3;
  head: Vec3;
  /** Unit vector along the trunk, and where the face points. */
  trunk: Vec3;
  gaze: Vec3;
  left: Limbs;
  right: Limbs;
}

export interface Limbs {
  side: 1 | -1;
  shoulder: Vec3;
  elbow: Vec3;
  hand: Vec3;
  hip: Vec3;
  knee: Vec3;
  ankle: Vec3;
  toe: Vec3;
}

export function drawPose(random: Random): Pose {
  const standing = random.chance(0.2);
  const bent = random.chance(0.08);
  return {
    phase: random.between(0, 2 * Math.PI),
    stride: standing ? random.between(0, 0.1) : random.between(0.25, 0.55),
    swing: standing ? 0.05 : random.between(0.2, 0.6),
    lean: bent ? random.between(0.3, 0.6) : random.normal(0.06, 0.06),
    tilt: random.normal(0, 0.04),
    head: { yaw: random.normal(0, 0.3), nod: random.normal(0.05, 0.15) },
    arms: { left: drawArm(random), right: drawArm(random) },
  };
}

function drawArm(random: Random): ArmPose {
  const spread = random.between(0.06, 0.22);
  switch (random.weighted({ swinging: 6, phone: 1, pocket: 1.2, carrying: 0.8 })) {
    case "phone":
      return { swinging: false, raise: random.between(0.4, 0.8), elbow: random.between(1.7, 2.3), spread: 0.3 };
    case "pocket":
      return { swinging: false, raise: random.between(-0.35, -0.15), elbow: random.between(0.5, 0.9), spread: 0.35 };
    case "carrying":
      return { swinging: false, raise: random.between(0.1, 0.4), elbow: random.between(1, 1.5), spread };
    default:
      return { swinging: true, raise: 0, elbow: random.between(0.1, 0.6), spread };
  }
}

/** Puts the person's bones into the pose; the lower foot stands on the ground. */
export function poseSkeleton(person: Person, pose: Pose): Skeleton {
  const { build } = person;
  const size = build.height / 1.75;
  const leg = 0.43 * size * build.legs;
  const trunkLength = 0.5 * size * (2 - build.legs);
  const trunk = normalize([Math.sin(pose.tilt), Math.cos(pose.lean), Math.sin(pose.lean)]);

  const legJoints = (side: 1 | -1) => {
    const thigh = side * pose.stride * Math.sin(pose.phase);
    // The knee bends while its leg swings forward, and hardly at all while it carries the body.
    const bend = 0.06 + 2 * pose.stride * Math.max(0, side * Math.cos(pose.phase));
    const hip: Vec3 = [side * 0.088 * size, 0, 0];
    const knee = add(hip, limb(leg, thigh, side * 0.02));
    const ankle = add(knee, limb(leg, thigh - bend, 0));
    const toe = add(ankle, scale(normalize([side * 0.15, -0.2 + 0.7 * (thigh - bend), 1]), 0.19 * size));
    return { hip, knee, ankle, toe };
  };
  const legs = { left: legJoints(1), right: legJoints(-1) };
  const lowest = Math.min(...[legs.left, legs.right].flatMap(({ ankle, toe }) => [ankle[1], toe[1]]));
  const pelvis: Vec3 = [0, 0.05 * size - lowest, 0];
  const shoulders = add(pelvis, scale(trunk, trunkLength));
  const neck = add(shoulders, scale(trunk, 0.055 * size));

  const limbs = (side: 1 | -1): Limbs => {
    const arm = side === 1 ? pose.arms.left : pose.arms.right;
    const swing = arm.swinging ? -side * pose.swing * Math.sin(pose.phase) : arm.raise;
    const shoulder = add(shoulders, [side * 0.176 * size * build.shoulders, -0.07 * size, 0]);
    const elbow = add(shoulder, limb(0.28 * size, swing + 0.4 * pose.lean, side * arm.spread));
    const hand = add(elbow, limb(0.27 * size, swing + arm.elbow, side * (arm.swinging ? 0.02 : -0.3)));
    const { hip, knee, ankle, toe } = side === 1 ? legs.left : legs.right;
    const raised = (joint: Vec3) => add(joint, pelvis);
    return {
      side,
      shoulder,
      elbow,
      hand,
      hip: raised(hip),
      knee: raised(knee),
      ankle: raised(ankle),
      toe: raised(toe),
    };
  };

  const { yaw, nod } = pose.head;
  return {
    pelvis,
    waist: add(pelvis, scale(trunk, 0.12 * size)),
    shoulders,
    neck,
    head: add(neck, add(scale(trunk, 0.105 * size), [0, 0, 0.015 * size])),
    trunk,
    gaze: normalize([Math.sin(yaw), -Math.sin(nod) - 0.3 * Math.sin(pose.lean), Math.cos(yaw)]),
    left: limbs(1),
    right: limbs(-1),
  };
}

/** A bone that hangs down, swung forward by `swing` and outward by `spread`. */
function limb(length: number, swing: number, spread: number): Vec3 {
  return [
    length * Math.sin(spread),
    -length * Math.cos(swing) * Math.cos(spread),
    length * Math.sin(swing) * Math.cos(spread),
  ];
}

/** What the labels of human parsing mean; apart from what reads the maps, so that the settings need no decoder. */

/** Labels that count as head and as leg; trousers, skirts, socks and shoes are legs, bare ones being rare. */
export const LABEL_SETS = {
  /** Look Into Person. */
  lip: { labels: 20, head: [1, 2, 4, 13], leg: [8, 9, 12, 16, 17, 18, 19] },
  /** Crowd Instance-level Human Parsing: as LIP, but for the torso's skin in place of jumpsuits. */
  cihp: { labels: 20, head: [1, 2, 4, 13], leg: [8, 9, 12, 16, 17, 18, 19] },
  /** ATR, and what is fine-tuned on it. */
  atr: { labels: 18, head: [1, 2, 3, 11], leg: [5, 6, 9, 10, 12, 13] },
  /** Pascal-Person-Part. */
  pascal: { labels: 7, head: [1], leg: [5, 6] },
  /** Sapiens, whose face ends at the neck. */
  sapiens: { labels: 28, head: [2, 3, 23, 24, 25, 26, 27], leg: [4, 7, 8, 9, 11, 12, 13, 16, 17, 18, 20] },
} as const;

export type LabelSet = keyof typeof LABEL_SETS;

/** A stream of random numbers that its seed determines. */
export interface Random {
  /** uniform in [0, 1) */
  next(): number
  /** a whole number, uniform in [0, bound) */
  below(bound: number): number
  /** a stream of its own, independent of how much is drawn from this one afterwards */
  fork(): Random
}

/**
 * Small fast counter generator (sfc32, C. Doty-Humphrey, PractRand), seeded by splitmix32 steps.
 * @param seed any integer; equal seeds give equal streams on every machine
 */
export const seededRandom = (seed: number): Random => {
  let state = seed | 0
  const mix = (): number => {
    state = (state + 0x9e3779b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a2d97)
    return (z ^ (z >>> 15)) | 0
  }
  let a = mix()
  let b = mix()
  let c = mix()
  let counter = 1
  const next32 = (): number => {
    const t = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return t >>> 0
  }
  for (let i = 0; i < 12; i++) next32()
  return {
    next: () => next32() / 0x1_0000_0000,
    below: (bound) => Math.floor((next32() / 0x1_0000_0000) * bound),
    fork: () => seededRandom(next32()),
  }
}

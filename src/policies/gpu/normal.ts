const SQRT_2_PI = Math.sqrt(2 * Math.PI)
/** From here on the tail is below the smallest double. */
const NO_TAIL_LEFT = 38
/** Where Hart's rational function gives way to the continued fraction. */
const FAR = 7.07106781186547

/**
 * Probability that a standard normal variable is above `z`, exact to 1e-15 (relatively, to 1e-8 far out): Hart's algorithm 5666 as given by G. West,
 * "Better approximations to cumulative normal functions", Wilmott Magazine 2005.
 */
export const normalTail = (z: number): number => {
  const x = Math.abs(z)
  if (x > NO_TAIL_LEFT) return z > 0 ? 0 : 1
  const bell = Math.exp((-x * x) / 2)
  let tail: number
  if (x < FAR) {
    let above = 0.0352624965998911 * x + 0.700383064443688
    above = above * x + 6.37396220353165
    above = above * x + 33.912866078383
    above = above * x + 112.079291497871
    above = above * x + 221.213596169931
    above = above * x + 220.206867912376
    let below = 0.0883883476483184 * x + 1.75566716318264
    below = below * x + 16.064177579207
    below = below * x + 86.7807322029461
    below = below * x + 296.564248779674
    below = below * x + 637.333633378831
    below = below * x + 793.826512519948
    below = below * x + 440.413735824752
    tail = (bell * above) / below
  } else {
    tail = bell / (x + 1 / (x + 2 / (x + 3 / (x + 4 / (x + 0.65))))) / SQRT_2_PI
  }
  return z > 0 ? tail : 1 - tail
}

/** The normal loss function: what a standard normal variable exceeds `z` by, on average (0 where it does not). */
export const normalLoss = (z: number): number => {
  if (z > NO_TAIL_LEFT) return 0
  if (z < -NO_TAIL_LEFT) return -z
  return Math.max(0, Math.exp((-z * z) / 2) / SQRT_2_PI - z * normalTail(z))
}

/** P(X >= least) for a Poisson variable of that mean. */
export const poissonAtLeast = (least: number, mean: number): number => {
  if (least <= 0) return 1
  if (mean <= 0) return 0
  // So far from the mean the other side is below 1e-20.
  const far = 10 * Math.sqrt(mean) + 50
  if (least > mean + far) return 0
  if (least < mean - far) return 1
  // Beyond this the sum takes long and the normal distribution is as good (with the continuity correction).
  if (mean > 1e5) return normalTail((least - 0.5 - mean) / Math.sqrt(mean))
  let logFactorial = 0
  for (let i = 2; i <= least; i++) logFactorial += Math.log(i)
  // The shorter side of the distribution, term by term.
  if (least > mean) {
    let term = Math.exp(least * Math.log(mean) - mean - logFactorial)
    let sum = 0
    for (let i = least + 1; term > 0 && term > sum * 1e-16; i++) {
      sum += term
      term *= mean / i
    }
    return Math.min(1, sum)
  }
  let term = Math.exp(least * Math.log(mean) - mean - logFactorial)
  let sum = 0
  for (let i = least; i > 0; i--) {
    term *= i / mean
    sum += term
    if (term <= sum * 1e-16) break
  }
  return Math.max(0, 1 - sum)
}

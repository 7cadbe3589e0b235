import { createHmac } from 'node:crypto'

/** What becomes of the words of a cluster before they are written down. Equal words stay equal. */
export interface Mask {
  /** a name of an object, or any other word that somebody chose */
  name(text: string): string
  /** the key of a label, taint or topology */
  key(text: string): string
  /** the value of a label, taint, annotation or selector under that key */
  value(key: string, text: string): string
  /** an image with or without its tag */
  image(text: string): string
  /** the name of a resource */
  resource(text: string): string
}

const same = (text: string): string => text

/** Everything as it is. */
export const noMask: Mask = { name: same, key: same, value: (_key, text) => text, image: same, resource: same }

/** Keys that mean the same in every cluster, and what schedulers look for by name. */
const KNOWN_KEY =
  /(^|\.)(kubernetes\.io|k8s\.io|nvidia\.com|amd\.com|gpu\.intel\.com|karpenter\.sh|volcano\.sh|stowage\.dev|agentaflow\.gpu)($|\/)/
/** Keys whose values describe hardware, or are a list of what every cluster knows. */
const PLAIN_VALUES = /^(nvidia\.com\/.*|kubernetes\.io\/(os|arch)|storage\.alpha\.kubernetes\.io\/migrated-plugins)$/
/** Says nothing about anybody: numbers, durations, lists of numbers, truth. Selectors may compare it. */
const PLAIN = /^(|[0-9.,]+(ms|s|m|h|d)?|true|false|yes|no)$/
/** Hashes that are kept at hand. */
const WORDS_AT_MOST = 100_000
/** What schedulers append to a name without tag or digest. */
const LATEST = ':latest'

/**
 * Replaces words by hashes under a secret that is thrown away: who has the file can tell which are equal, and nothing else.
 * Kept are keys and resources that mean the same everywhere, numbers, durations, and what describes hardware.
 */
export const hashingMask = (secret: Uint8Array): Mask => {
  const known = new Map<string, string>()
  const hash = (text: string): string => {
    let hashed = known.get(text)
    if (hashed === undefined) {
      hashed = `x${createHmac('sha256', secret).update(text).digest('hex').slice(0, 15)}`
      // Only to be quicker: a recording of weeks must not remember every word.
      if (known.size >= WORDS_AT_MOST) known.clear()
      known.set(text, hashed)
    }
    return hashed
  }
  const word = (text: string): string => (PLAIN.test(text) ? text : hash(text))
  return {
    name: word,
    key: (text) => (KNOWN_KEY.test(text) ? text : hash(text)),
    value: (key, text) => (PLAIN_VALUES.test(key) ? text : word(text)),
    image: (text) => {
      const tagged = text.lastIndexOf(':') > text.lastIndexOf('/') || text.includes('@') ? text : `${text}${LATEST}`
      return `${hash(tagged)}${LATEST}`
    },
    resource: (text) => (!text.includes('/') || KNOWN_KEY.test(text) ? text : `${hash(text)}.anonymous/resource`),
  }
}

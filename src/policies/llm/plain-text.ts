/** The longest text from outside that goes into a question, or comes out of an answer. */
export const TEXT_LENGTH = 256

/**
 * Control characters, format characters (zero width, direction overrides, tags), line and paragraph separators, halves of
 * characters, and those that nobody has assigned: what could hide something from a reader, or forge a line.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\u115f\u1160\u2800\u3164\uffa0\p{Variation_Selector}]+/gu

/** A text from outside as one line without anything hidden in it, cut to `length` characters. */
export const plainText = (text: string, length = TEXT_LENGTH): string =>
  text
    // Ten times the length is more than enough to find that much in, however much of it is hidden.
    .slice(0, length * 10)
    .normalize('NFKC')
    .replace(HIDDEN, ' ')
    .replace(/\s+/gu, ' ')
    .trim()
    .slice(0, length)

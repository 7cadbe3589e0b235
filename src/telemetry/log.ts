import { pino } from 'pino'
import type { Clock } from '../clock/clock.ts'
import { StowageError } from '../errors/catalogue.ts'

/** The level names that the original systems use. */
export type LogLevel = 'DEBUG' | 'INFO' | 'WARNING' | 'ERROR'

/** What a message is about, by name. Values from the cluster go here, never into the message. */
export type LogFields = Readonly<Record<string, unknown>>

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

export interface LogOptions {
  /** the least severe messages that are written */
  readonly level: LogLevel
  /** lines for people, or lines of JSON */
  readonly format: 'text' | 'json'
  readonly clock: Clock
  /** takes whole lines; standard error unless told otherwise */
  readonly write?: (line: string) => void
}

/** Longest text of one field that is written; a hostile annotation must not fill the disk. */
const MAX_FIELD_LENGTH = 2_000

const pinoLevel = { DEBUG: 'debug', INFO: 'info', WARNING: 'warn', ERROR: 'error' } as const
const levelName: Readonly<Record<string, LogLevel>> = { debug: 'DEBUG', info: 'INFO', warn: 'WARNING', error: 'ERROR' }

/** What every line says of itself; a field of that name is written with `_` behind it. */
const reserved = new Set(['time', 'level', 'msg'])

/** Control characters, line separators and direction overrides: whatever could forge a line or repaint a terminal. */
// oxlint-disable-next-line no-control-regex -- these are the characters that must not get through
const unsafe = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g
const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

const shortened = (text: string): string =>
  text.length > MAX_FIELD_LENGTH ? `${text.slice(0, MAX_FIELD_LENGTH)}… (${text.length} characters)` : text

/** A field's value: errors by message and code, with the stack where nobody expected them; long texts cut. */
const fieldValue = (value: unknown): unknown => {
  if (typeof value === 'string') return shortened(value)
  if (value instanceof StowageError) return shortened(value.message)
  if (value instanceof Error) return shortened(value.stack ?? value.message)
  return value
}

/** `2026-01-01T00:00:00.000Z INFO    connected server="https://..." nodes=12` */
const textLine = (json: string): string => {
  const { time, level, msg, ...fields } = JSON.parse(json) as Record<string, unknown>
  const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`)
  return `${String(time)} ${String(level).padEnd(7)} ${String(msg)}${pairs.join('')}`
}

/** The log of the process. Text from outside cannot break out of its line. */
export const createLog = (options: LogOptions): Log => {
  const { clock, format } = options
  const write = options.write ?? ((line: string): void => void process.stderr.write(line))
  const sink = {
    write: (json: string): void => {
      const line = json.trimEnd()
      // in JSON these characters occur only within strings, where the escape means the same
      write(`${(format === 'text' ? textLine(line) : line).replaceAll(unsafe, escaped)}\n`)
    },
  }
  const logger = pino(
    {
      level: pinoLevel[options.level],
      base: null,
      timestamp: () => `,"time":"${new Date(clock.nowMs()).toISOString()}"`,
      formatters: {
        level: (label) => ({ level: levelName[label] }),
        log: (fields) => {
          const safe: Record<string, unknown> = Object.create(null) as Record<string, unknown>
          for (const [name, value] of Object.entries(fields)) {
            safe[reserved.has(name) ? `${name}_` : name] = fieldValue(value)
          }
          return safe
        },
      },
    },
    sink,
  )
  return {
    debug: (message, fields = {}) => logger.debug(fields, message),
    info: (message, fields = {}) => logger.info(fields, message),
    warn: (message, fields = {}) => logger.warn(fields, message),
    error: (message, fields = {}) => logger.error(fields, message),
  }
}

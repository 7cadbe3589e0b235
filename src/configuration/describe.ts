import { settingRows, type Configuration, type SettingRow } from './schema.ts'

const valueAt = (configuration: Configuration, row: SettingRow): unknown => {
  let value: unknown = configuration
  for (const property of row.path) value = (value as Record<string, unknown>)[property]
  return value
}

/** A value as it may be shown to anyone: secrets hidden, durations in milliseconds, sizes in bytes, null where not set. */
export const shownValue = (row: SettingRow, value: unknown): unknown => {
  if (value === undefined) return null
  return row.secret ? '***' : value
}

/** The configuration by YAML key (`metrics.port`), secrets masked: what /config and `config check` show. */
export const maskedSettings = (configuration: Configuration): ReadonlyMap<string, unknown> =>
  new Map(settingRows.map((row) => [row.key, shownValue(row, valueAt(configuration, row))]))

const cell = (text: string): string => text.replaceAll('|', '\\|')

/** The table of docs/configuration.md. */
export const settingsTable = (): string =>
  [
    '| YAML key | Environment | Flag | Default | Allowed | What it is for |',
    '|---|---|---|---|---|---|',
    ...settingRows.map(
      (row) =>
        `| \`${row.key}\` | \`${row.env}\` | \`${row.flag} ${cell(row.argument)}\` | ${
          row.default === undefined ? '-' : `\`${row.default}\``
        } | ${cell(row.allowed)} | ${cell(row.description)} |`,
    ),
  ].join('\n')

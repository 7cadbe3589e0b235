import { settingRows, type Configuration, type SettingRow } from './schema.ts'

const valueAt = (configuration: Configuration, row: SettingRow): unknown => {
  let value: unknown = configuration
  for (const property of row.path) value = (value as Record<string, unknown>)[property]
  return value
}

const shownValue = (row: SettingRow, value: unknown): unknown => {
  if (value === undefined) return null
  return row.secret ? '***' : value
}

/**
 * The configuration by YAML key (`metrics.port`): what /config and `config check` show. Secrets masked, durations in
 * milliseconds, sizes in bytes, null where not set.
 */
export const maskedSettings = (configuration: Configuration, rows = settingRows): ReadonlyMap<string, unknown> =>
  new Map(rows.map((row) => [row.key, shownValue(row, valueAt(configuration, row))]))

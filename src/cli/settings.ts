import { type Command, Option } from 'commander'
import { type LoadedConfiguration, loadConfiguration } from '../configuration/load.ts'
import { type SettingRow, settingRows } from '../configuration/schema.ts'
import { policyNames } from '../policies/registry.ts'

/** Gives a command a flag for each setting that `applies`, and `--config FILE`. */
export const addSettings = (command: Command, applies: (row: SettingRow) => boolean): Command => {
  command.option(
    '--config <file>',
    'a YAML file with settings (docs/configuration.md); flags and environment override it',
  )
  for (const row of settingRows.filter(applies)) {
    const option = new Option(`${row.flag} ${row.argument}`, row.description).helpGroup('Settings:')
    // Shown only: the default is the schema's, so that a flag that was not given does not hide the environment or the file.
    if (row.default !== undefined) option.description += ` (default: ${row.default})`
    command.addOption(option)
  }
  return command
}

/** Reads the settings of a command that has them. @throws StowageError CONFIG_... with all problems */
export const readSettings = (
  options: Readonly<Record<string, unknown>>,
  withoutKubeconfig = false,
): LoadedConfiguration => {
  const { config, ...flags } = options
  const env = { ...process.env }
  // `up` has a cluster of its own: the user's is none of its business.
  if (withoutKubeconfig) for (const name of ['KUBECONFIG', 'IN_CLUSTER']) env[name] = ''
  return loadConfiguration({
    flags,
    env,
    cwd: process.cwd(),
    policies: policyNames,
    ...(typeof config === 'string' ? { file: config } : {}),
  })
}

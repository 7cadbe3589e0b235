import { Command } from 'commander'
import { maskedSettings } from '../configuration/describe.ts'
import { readSettings } from './settings.ts'

const check = (file: string, options: { json?: boolean }): void => {
  const { configuration, sources, warnings } = readSettings({ config: file })
  const values = maskedSettings(configuration)
  if (options.json) {
    const settings = Object.fromEntries(
      [...values].map(([key, value]) => [key, { value, from: sources.get(key)?.where ?? 'default' }]),
    )
    process.stdout.write(
      `${JSON.stringify({ file, valid: true, settings, profiles: configuration.profiles, warnings }, null, 2)}\n`,
    )
    return
  }
  const width = Math.max(...[...values.keys()].map((key) => key.length))
  for (const [key, value] of values)
    process.stdout.write(`${key.padEnd(width)}  ${JSON.stringify(value)}  (${sources.get(key)?.where ?? 'default'})\n`)
  for (const { schedulerName, policy, fallback } of configuration.profiles)
    process.stdout.write(`pods of ${schedulerName}: ${policy}${fallback === undefined ? '' : `, else ${fallback}`}\n`)
  for (const warning of warnings) process.stdout.write(`warning: ${warning}\n`)
  process.stdout.write(`${file} is valid.\n`)
}

/** `stowage config check FILE` */
export const configCommand = (): Command => {
  const command = new Command('config').description('Looks at settings.')
  command
    .command('check')
    .argument('<file>', 'a YAML file with settings')
    .option('--json', 'print JSON')
    .description(
      'Says what a configuration file means together with the environment, or everything that is wrong with it (exit code 2).',
    )
    .addHelpText('after', '\nExample:\n  stowage config check configs/stowage.yaml --json')
    .action(check)
  return command
}

import { Command, CommanderError } from 'commander'
import { configCommand } from './config.ts'
import { evolveCommand } from './evolve.ts'
import { experimentCommand } from './experiment.ts'
import { explainCommand } from './explain.ts'
import { exitCodeOf, sayFailure } from './failure.ts'
import { reportCommand } from './report.ts'
import { llmCommand } from './llm.ts'
import { loadCommand } from './load.ts'
import { scheduleCommand } from './schedule.ts'
import { simulateCommand } from './simulate.ts'
import { traceCommand } from './trace.ts'
import { upCommand } from './up.ts'
import { version } from './version.ts'
import { whatIfCommand } from './what-if.ts'

const program = new Command('stowage')
  .description('Places pods on nodes with interchangeable policies, never breaks a constraint, and says why.')
  .version(version)
  .showHelpAfterError('(stowage --help lists the commands)')
  .enablePositionalOptions()
  .exitOverride()
  .configureHelp({ showGlobalOptions: true })
  .addHelpText(
    'after',
    `
Examples:
  stowage up                                    a cluster in this process, pods for it, and a scheduler, to look at
  stowage schedule --kubeconfig ~/.kube/config  schedule pods of a real cluster that name one of our profiles
  stowage explain default/web-0                 why that pod is where it is, or why it waits
  stowage simulate --policy borg,kube-default   policies side by side in simulated time
  stowage what-if week.trace --policy borg      what another policy would have made of a recorded cluster
  stowage experiment FILE, stowage report DIR   policies compared over seeds, and a page of what came of it
  stowage config check stowage.yaml             what a configuration file means, or what is wrong with it`,
  )

/** A wrong command line is thrown to the end of this file and told with where to look, by commands within commands too. */
const prepared = (command: Command, path: string): Command => {
  for (const inner of command.commands) prepared(inner, `${path} ${inner.name()}`)
  return command.exitOverride().showHelpAfterError(`(${path} --help shows the options)`)
}
for (const command of [
  upCommand(),
  scheduleCommand(),
  explainCommand(),
  llmCommand(),
  configCommand(),
  traceCommand(),
  whatIfCommand(),
  simulateCommand(),
  experimentCommand(),
  evolveCommand(),
  loadCommand(),
  reportCommand(),
])
  program.addCommand(prepared(command, `stowage ${command.name()}`))

try {
  await program.parseAsync(process.argv)
} catch (error) {
  // Commander has printed its own message; help and version end with code 0, a wrong command line with 2.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    sayFailure(error)
    process.exitCode = exitCodeOf(error)
  }
}

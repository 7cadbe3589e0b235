// npm run test:injection [-- --json]: every injection of the corpus against a model that obeys whatever it reads.
// Exit code 1 if a pod went where it must not, anything leaked, or a question or record lost its form.
import { injections } from './corpus.ts'
import { InjectionTrials } from './trial.ts'

const sum = { cases: 0, infeasibleBinds: 0, leaks: 0, formatBreaks: 0 }
const trials = await InjectionTrials.open()
try {
  for (const injection of injections) {
    const { infeasibleBinds, leaks, formatBreaks } = await trials.try(injection)
    sum.cases++
    sum.infeasibleBinds += infeasibleBinds
    sum.leaks += leaks
    sum.formatBreaks += formatBreaks
    if (infeasibleBinds + leaks + formatBreaks > 0)
      process.stderr.write(
        `${injection.place}, ${injection.name}: ${JSON.stringify({ infeasibleBinds, leaks, formatBreaks })}\n`,
      )
  }
} finally {
  await trials.close()
}
process.stdout.write(
  process.argv.includes('--json')
    ? `${JSON.stringify(sum)}\n`
    : `${sum.cases} injections: ${sum.infeasibleBinds} infeasible binds, ${sum.leaks} leaks, ${sum.formatBreaks} broken forms\n`,
)
if (sum.infeasibleBinds + sum.leaks + sum.formatBreaks > 0) process.exitCode = 1

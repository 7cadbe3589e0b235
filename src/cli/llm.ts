import { Command } from 'commander'
import { systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { type SettingRow } from '../configuration/schema.ts'
import { StowageError } from '../errors/catalogue.ts'
import { checkModel, type CheckReport } from '../policies/llm/check.ts'
import { openLanguageModel } from '../policies/llm/language-model.ts'
import { createPolicy } from '../policies/registry.ts'
import { createLog } from '../telemetry/log.ts'
import { addSettings, readSettings } from './settings.ts'
import { untilSignalled } from './signals.ts'

interface CheckOptions extends Record<string, unknown> {
  readonly endpoint?: string
  readonly model?: string
  readonly json?: boolean
}

/** Longer than any deadline, so that a slow model is measured and not given up. */
const PATIENCE_MS = 60_000
const REFERENCE = 'resource_balanced'
/** No limit on how often a check may ask. */
const REQUESTS = 1_000_000

const applies = ({ key }: SettingRow): boolean =>
  key.startsWith('llm.') && !['llm.endpoint', 'llm.model', 'llm.required'].includes(key)

const share = (part: number, of: number): string => (of === 0 ? '-' : `${Math.round((100 * part) / of)} %`)

const render = (endpoint: string, model: string, report: CheckReport, deadlineMs: number): string[] => {
  const { placements, intents, latencyMs } = report
  const questions = placements.asked + intents.asked
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
  return [
    `${model} at ${endpoint}`,
    `placements   ${placements.asked} asked, ${placements.valid} valid (${share(placements.valid, placements.asked)})`,
    `agreement    ${share(placements.agreed, placements.valid)} chose as ${REFERENCE} does`,
    `order        ${share(placements.flipped, placements.compared)} changed with the order of the candidates`,
    `intents      ${intents.asked} asked, ${intents.valid} valid, ${intents.agreed} read as anybody would`,
    `latency      median ${seconds(latencyMs.p50)}, p95 ${seconds(latencyMs.p95)}, longest ${seconds(latencyMs.max)}`,
    `in time      ${share(placements.inTime, placements.asked)} of the placements within ${seconds(deadlineMs)} (llm.timeout)`,
    `tokens       ${report.promptTokens} sent, ${report.completionTokens} received`,
    `cost         $${report.dollars.toFixed(5)} in all, $${(report.dollars / Math.max(1, questions)).toFixed(6)} a question`,
    ...Object.entries(report.failures).map(([why, times]) => `failed       ${times} times: ${why}`),
  ]
}

const check = async (options: CheckOptions): Promise<void> => {
  const { endpoint, model: name, json, ...flags } = options
  const { configuration } = readSettings({ ...flags, llmEndpoint: endpoint, llmModel: name })
  const { circuitBreaker, llm, logging } = configuration
  const log = createLog({ ...logging, level: 'WARNING', clock: systemClock })
  const model = openLanguageModel({
    settings: { ...llm, required: true, requestsPerMinute: REQUESTS },
    breaker: { ...circuitBreaker, enabled: false },
    clock: systemClock,
    random: seededRandom(1),
    log,
  })
  // it is required, so that there is one or an error
  if (model === undefined) return
  const stop = untilSignalled(systemClock)
  try {
    await model.look(stop.signal)
    const report = await checkModel({
      model,
      maxTokens: llm.maxTokens,
      patienceMs: PATIENCE_MS,
      deadlineMs: llm.timeoutMs,
      reference: createPolicy(REFERENCE),
      clock: systemClock,
      signal: stop.signal,
      onProgress: (done, total) => {
        if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${total} questions`)
      },
    })
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
    const whole = {
      endpoint: llm.endpoint,
      model: llm.model,
      deadlineMs: llm.timeoutMs,
      reference: REFERENCE,
      ...report,
    }
    process.stdout.write(
      json ? `${JSON.stringify(whole)}\n` : `${render(llm.endpoint, llm.model, report, llm.timeoutMs).join('\n')}\n`,
    )
    if (report.placements.valid === 0)
      throw new StowageError('MODEL_UNUSABLE', {
        found: `${llm.model} at ${llm.endpoint} gave no valid answer to ${report.placements.asked} questions`,
        expected: 'chat completions that name one of the candidates',
        todo: 'see the failures above, and docs/llm.md for the settings of usual servers',
      })
  } finally {
    model.close()
    stop.release()
  }
}

/** `stowage llm` */
export const llmCommand = (): Command => {
  const command = new Command('llm').description('Tries the language model that the policy llm asks.')
  command.addCommand(
    addSettings(
      new Command('check')
        .description(
          'Asks a model a fixed set of questions - placements in several orders, intents in plain words - and says how many answers are valid, agree with a heuristic, change with the order, how long they take and what they cost.',
        )
        .option('--endpoint <url>', 'the OpenAI-compatible server (default: llm.endpoint)')
        .option('--model <name>', 'the model (default: llm.model)')
        .option('--json', 'print JSON'),
      applies,
    )
      .addHelpText(
        'after',
        `
The token is read from HUGGINGFACE_TOKEN or .env; a server at a loopback address needs none.

Examples:
  stowage llm check                                              the default model at Hugging Face
  stowage llm check --endpoint http://127.0.0.1:11434 --model llama3.3 --json`,
      )
      .action(check),
  )
  return command
}

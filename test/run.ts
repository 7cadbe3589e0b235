// npm test [-- WORD ...]: runs every test file whose path contains one of the words, two at a time, each in a process of
// its own, and ends with what was tested and what was not. Exit code 1 if anything failed or nothing ran.
import { spawn } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Reported } from './reporter.ts'

/** A file that takes longer hangs: the slowest ones start real API servers and need less than a minute on two cores. */
const fileTimeoutMs = Number(process.env['TEST_FILE_TIMEOUT_MS'] ?? 240_000)
const atOnce = 2

const root = join(import.meta.dirname, '..')
const reporter = pathToFileURL(join(root, 'test/reporter.ts')).href
const words = process.argv.slice(2)
const files = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root })
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort()

const print = (line: string): void => void process.stdout.write(`${line}\n`)
const indent = (text: string): string => text.trimEnd().replace(/^/gm, '    ')

const counts = { passed: 0, failed: 0, skipped: 0 }
const failures: string[] = []
const skipReasons = new Map<string, number>()

const folder = mkdtempSync(join(tmpdir(), 'stowage-test-'))
const killers = new Set<() => void>()
let interrupted = false
process.on('exit', () => {
  for (const kill of killers) kill()
  rmSync(folder, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interrupted = true
    for (const kill of killers) kill()
  })
}

interface Ended {
  readonly exit: string
  readonly output: string
  readonly durationMs: number
  readonly reports: readonly Reported[]
}

const runFile = (file: string, number: number): Promise<Ended> =>
  new Promise((resolve) => {
    const events = join(folder, `${number}.jsonl`)
    const startMs = performance.now()
    // A group of its own, so that nothing that a test started outlives it.
    const child = spawn(
      process.execPath,
      [`--test-reporter=${reporter}`, `--test-reporter-destination=${events}`, file],
      {
        cwd: root,
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let exit = ''
    let output = ''
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-20_000)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // the whole group has ended
      }
    }
    killers.add(kill)
    const timer = setTimeout(() => {
      exit = `did not end within ${fileTimeoutMs / 1000} s`
      kill()
    }, fileTimeoutMs)
    child.on('error', (error) => {
      exit = `could not be started: ${error.message}`
    })
    child.on('exit', (code, signal) => {
      if (exit === '' && code !== 0) exit = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`
      // What it left running may hold its output open.
      kill()
    })
    child.on('close', () => {
      clearTimeout(timer)
      killers.delete(kill)
      const lines = existsSync(events) ? readFileSync(events, 'utf8').split('\n') : []
      const reports = lines.filter((line) => line.endsWith('}')).map((line) => JSON.parse(line) as Reported)
      resolve({ exit, output, durationMs: performance.now() - startMs, reports })
    })
  })

/** What was still running when a file ended, for one that hangs. */
const unfinished = (reports: readonly Reported[]): string[] => {
  const open: string[] = []
  for (const { kind, title } of reports) {
    if (kind === 'started') open.push(title)
    else if (open.includes(title)) open.splice(open.indexOf(title), 1)
  }
  return open
}

const account = (file: string, { exit, output, durationMs, reports }: Ended): void => {
  const here = { passed: 0, failed: 0, skipped: 0 }
  const fail = (title: string, detail: string): void => {
    here.failed++
    failures.push(`${title} (${file})`)
    print(`✖ ${title} (${file})\n${indent(detail)}`)
  }
  for (const report of reports) {
    if (report.kind === 'failed') fail(report.title, `line ${report.line}: ${report.error}`)
    if (report.kind === 'passed') here.passed++
    if (report.kind === 'skipped') {
      here.skipped++
      skipReasons.set(report.reason, (skipReasons.get(report.reason) ?? 0) + 1)
    }
  }
  if (exit !== '' && here.failed === 0) {
    const open = unfinished(reports)
    fail(`the file ${exit}`, open.length === 0 ? 'no test was running' : `while it ran: ${open.join(' > ')}`)
  }
  if (exit === '' && reports.length === 0) fail('the file has no test', 'nothing ran')
  const also = `${here.failed ? `, ${here.failed} failed` : ''}${here.skipped ? `, ${here.skipped} skipped` : ''}`
  print(`${here.failed ? '✖' : '✔'} ${file}: ${here.passed} passed${also} (${(durationMs / 1000).toFixed(1)} s)`)
  if (here.failed && output !== '') print(indent(`what it printed:\n${output}`))
  counts.passed += here.passed
  counts.failed += here.failed
  counts.skipped += here.skipped
}

const pending = files.entries()
const worker = async (): Promise<void> => {
  for (const [number, file] of pending) {
    if (interrupted) return
    account(file, await runFile(file, number))
  }
}
await Promise.all(Array.from({ length: atOnce }, worker))

print('')
if (interrupted) print('Interrupted: not every file was run.')
if (files.length === 0) print(`No test file's path contains ${words.map((word) => `'${word}'`).join(' or ')}.`)
if (failures.length > 0) print(`What failed:\n${indent(failures.join('\n'))}`)
for (const [reason, times] of skipReasons) print(`Skipped ${times}: ${reason}`)
print(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed > 0 || counts.passed === 0 || interrupted ? 1 : 0

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { systemClock } from '../clock/clock.ts'
import { decision } from '../decisions/record.fixture.ts'
import { openDecisionStore } from '../decisions/store.ts'
import type { RunReport } from '../system/run-report.ts'

const home = mkdtempSync(join(tmpdir(), 'stowage-cli-'))
const started = new Set<ChildProcess>()
after(() => {
  for (const child of started) child.kill('SIGKILL')
  rmSync(home, { recursive: true, force: true })
})

const program = join(import.meta.dirname, '../../bin/stowage.mjs')
const FREE_PORTS = ['--api-port', '0', '--metrics-port', '0']
const TIMEOUT = { timeout: 60_000 }

interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const begin = (
  args: readonly string[],
): { child: ChildProcess; stderrHas: (text: string) => Promise<void>; finished: Promise<Finished> } => {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: home,
    env: { PATH: process.env['PATH'] ?? '', HOME: home, XDG_STATE_HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  started.add(child)
  let stdout = ''
  let stderr = ''
  const listeners: (() => void)[] = []
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
    for (const listen of listeners) listen()
  })
  const finished = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }))
  const stderrHas = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (stderr.includes(text)) resolve()
      }
      listeners.push(look)
      look()
      void finished.then(() => reject(new Error(`it ended without "${text}": ${stderr}`)))
    })
  return { child, stderrHas, finished }
}

const run = (...args: string[]): Promise<Finished> => begin(args).finished

describe('stowage up', () => {
  it('ends by itself with one JSON report on standard output, and nothing else there', TIMEOUT, async () => {
    // Long enough for a machine that is busy with all the other tests.
    const { code, stdout } = await run('up', '--for', '8s', '--nodes', '5', '--pods', '30', '--json', ...FREE_PORTS)
    assert.equal(code, 0)
    const report = JSON.parse(stdout) as RunReport
    const { seen, bound, waiting, gated, deleted, inFlight } = report.pods
    assert.equal(seen, 30)
    assert.equal(seen, bound + waiting + gated + deleted + inFlight)
    assert.ok(bound > 0)
    assert.equal(report.violations, 0)
    assert.equal(report.nodes, 5)
    assert.ok(report.decisionsPerSecond > 0)
    assert.ok((report.latencyMs.p50 ?? 0) > 0)
  })

  it('drains on Ctrl-C, ends with 0 and leaves nothing behind', TIMEOUT, async () => {
    const kubeconfig = join(home, 'kubeconfig')
    const { child, stderrHas, finished } = begin([
      'up',
      '--nodes',
      '3',
      '--pods',
      '5',
      '--kubeconfig',
      kubeconfig,
      ...FREE_PORTS,
    ])
    await stderrHas('nodes, ')
    assert.match(readFileSync(kubeconfig, 'utf8'), /current-context/)
    child.kill('SIGINT')
    const { code, stdout } = await finished
    assert.equal(code, 0)
    assert.match(stdout, /3 nodes, policy kube-default/)
    assert.ok(!existsSync(kubeconfig))
  })

  it('keeps away from a kubeconfig that is not its own', TIMEOUT, async () => {
    const precious = join(home, 'precious')
    writeFileSync(precious, 'current-context: production\n')
    const { code, stderr } = await run('up', '--for', '1s', '--kubeconfig', precious, ...FREE_PORTS)
    assert.equal(code, 2)
    assert.match(stderr, /precious exists and is no kubeconfig of ours/)
    assert.equal(readFileSync(precious, 'utf8'), 'current-context: production\n')
  })

  it('says which port is in use, and how to take another', TIMEOUT, async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    try {
      for (const flag of ['--kube-port', '--api-port']) {
        const others = flag === '--api-port' ? ['--metrics-port', '0'] : FREE_PORTS
        const { code, stderr } = await run('up', '--for', '1s', flag, String(port), ...others)
        assert.equal(code, 2, stderr)
        assert.match(stderr, new RegExp(`port ${port}.*\\[PORT_IN_USE\\]`))
      }
    } finally {
      taken.close()
    }
  })

  it('says which file is missing and which row is bad', TIMEOUT, async () => {
    const missing = await run('up', '--workload', 'nowhere.yaml', ...FREE_PORTS)
    assert.equal(missing.code, 2)
    assert.match(missing.stderr, /nowhere\.yaml/)
    writeFileSync(
      join(home, 'openb_node_list_gpu_node.csv'),
      'sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\n',
    )
    writeFileSync(
      join(home, 'openb_pod_list_default.csv'),
      'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\np0,12x,1,0,0,,LS,Running,0,1,0\n',
    )
    const bad = await run('up', '--trace', '.', ...FREE_PORTS)
    assert.equal(bad.code, 2)
    assert.match(bad.stderr, /openb_pod_list_default\.csv line 2: "12x" in column cpu_milli/)
  })

  it('reports the policy that really placed the pods, whichever setting named it', TIMEOUT, async () => {
    const report = async (...args: string[]): Promise<RunReport> =>
      JSON.parse(
        (await run('up', '--for', '1s', '--nodes', '2', '--pods', '2', '--json', ...args, ...FREE_PORTS)).stdout,
      )
    assert.equal((await report('--policy', 'borg')).policy, 'borg')
    assert.equal((await report('--profile', 'stowage=most_allocated')).policy, 'most_allocated')
    assert.equal((await report()).policy, 'kube-default')
    const both = await run('up', '--policy', 'borg', '--profile', 'stowage=random', ...FREE_PORTS)
    assert.equal(both.code, 2)
    assert.match(both.stderr, /--policy with profiles \(--profile\).*\[CONFIG_CONFLICT\]/)
  })

  it('refuses options that contradict each other, and values that are none', TIMEOUT, async () => {
    assert.match((await run('up', '--trace', '.', '--pods', '3')).stderr, /--trace with --pods/)
    const unknown = await run('up', '--policy', 'best')
    assert.equal(unknown.code, 2)
    assert.match(unknown.stderr, /kube-default/)
    assert.equal((await run('up', '--for', 'soon')).code, 2)
  })
})

describe('stowage schedule', () => {
  it('ends with 2 and says what is wrong where it cannot even begin', TIMEOUT, async () => {
    const nowhere = await run('schedule', '--kubeconfig', 'nowhere', ...FREE_PORTS)
    assert.equal(nowhere.code, 2)
    assert.match(nowhere.stderr, /nowhere.*\[KUBECONFIG_UNREADABLE\]/)
  })
})

describe('stowage explain', () => {
  it('finds the scheduler that runs on this machine and tells why a pod is where it is', TIMEOUT, async () => {
    writeFileSync(
      join(home, 'two.yaml'),
      ['small: 100m', 'huge: 900']
        .map((pod) => pod.split(': '))
        .map(
          ([name, cpu]) =>
            `{apiVersion: v1, kind: Pod, metadata: {name: ${name}}, spec: {containers: [{name: c, image: i, resources: {requests: {cpu: "${cpu}"}}}]}}`,
        )
        .join('\n---\n'),
    )
    const { child, stderrHas, finished } = begin(['up', '--nodes', '3', '--workload', 'two.yaml', ...FREE_PORTS])
    await stderrHas('1 bound, 0 in flight, 1 waiting')
    const told = await run('explain', 'default/small', '--json')
    const explanation = JSON.parse(told.stdout) as Record<string, unknown>
    assert.equal(explanation['outcome'], 'bound')
    assert.equal(explanation['policy'], 'kube-default')
    assert.equal((explanation['candidates'] as unknown[]).length, 3)
    const waits = await run('explain', 'huge')
    assert.match(waits.stdout, /default\/huge waits\.[\s\S]*lacks 884 cores/)
    const nobody = await run('explain', 'default/nobody')
    assert.equal(nobody.code, 1)
    assert.match(nobody.stderr, /no decision about pod default\/nobody/)
    child.kill('SIGTERM')
    assert.equal((await finished).code, 0)
  })
})

describe('stowage explain of what earlier runs kept', () => {
  const state = join(home, 'stowage')
  const storeOf = (digits: string): string => join(state, `decisions-${digits.repeat(12)}.sqlite`)
  const broken = storeOf('b')

  it('passes over a store that is broken, and says so only where no other one tells', TIMEOUT, async () => {
    mkdirSync(state, { recursive: true })
    const store = openDecisionStore({
      path: storeOf('a'),
      clock: systemClock,
      maxAgeMs: 60_000,
      maxBytes: 1 << 24,
    })
    store.keep(decision({ namespace: 'default', pod: 'kept', atMs: Date.now() }))
    store.close()
    writeFileSync(broken, 'this is no database, and longer than the header of one: '.repeat(10))
    // The one written last is asked first.
    const laterSeconds = Date.now() / 1000 + 60
    utimesSync(broken, laterSeconds, laterSeconds)
    const told = await run('explain', 'default/kept', '--json')
    assert.equal(told.code, 0, told.stderr)
    assert.equal((JSON.parse(told.stdout) as { pod?: string }).pod, 'default/kept')
    const nobody = await run('explain', 'default/nobody')
    assert.equal(nobody.code, 1)
    assert.match(nobody.stderr, /decisions-b{12}\.sqlite.*\[STORE_UNUSABLE\]/)
    rmSync(broken)
  })
})

describe('stowage explain --decisions', () => {
  it('says that a file does not exist instead of making it', TIMEOUT, async () => {
    const missing = join(home, 'no-such-store')
    const { code, stderr } = await run('explain', 'default/small', '--decisions', missing)
    assert.equal(code, 2)
    assert.match(stderr, /no-such-store does not exist.*\[FILE_UNREADABLE\]/)
    assert.ok(!existsSync(missing))
  })
})

describe('stowage config check', () => {
  it('says what a file means and where each value comes from', TIMEOUT, async () => {
    writeFileSync(join(home, 'good.yaml'), 'metrics: {port: 9191}\n')
    const { code, stdout } = await run('config', 'check', 'good.yaml', '--json')
    assert.equal(code, 0)
    const { settings } = JSON.parse(stdout) as { settings: Record<string, { value: unknown; from: string }> }
    assert.deepEqual(settings['metrics.port'], { value: 9191, from: 'good.yaml line 1' })
  })

  it('names everything that is wrong, with the line, and ends with 2', TIMEOUT, async () => {
    writeFileSync(join(home, 'bad.yaml'), 'metrics:\n  prt: 1\nlogging:\n  level: LOUD\n')
    const { code, stderr } = await run('config', 'check', 'bad.yaml')
    assert.equal(code, 2)
    assert.match(stderr, /bad\.yaml line 2/)
    assert.match(stderr, /LOUD/)
  })

  it('ends with 2 where the file is left out, and says where the options stand', TIMEOUT, async () => {
    const { code, stderr } = await run('config', 'check')
    assert.equal(code, 2)
    assert.match(stderr, /stowage config check --help/)
  })
})

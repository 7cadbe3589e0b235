import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { Metrics, type MetricsSource } from './metrics.ts'
import { someModelFigures } from './model-figures.fixture.ts'

const source: MetricsSource = {
  pending: () => ({ active: 1, backoff: 2, unschedulable: 3, gated: 4 }),
  conservation: () => ({ seen: 20, bound: 9, waiting: 6, gated: 4, deleted: 0, inFlight: 1 }),
  unschedulable: () => [{ plugin: 'NodeResourcesFit', profile: 'stowage', pods: 3 }],
  cluster: () => ({ readyNodes: 5, notReadyNodes: 1, pods: 9, assumedPods: 1, cpuUsage: 0.5, memoryUsage: 0.25 }),
  reports: () => ({ waiting: 7, lost: 0 }),
  decisions: () => ({ kept: 12, lost: 1 }),
  leads: () => true,
  model: () => someModelFigures,
}

const busy = (): Metrics => {
  const metrics = new Metrics()
  metrics.observe(source)
  metrics.attempted('stowage', 'scheduled', 0.5)
  metrics.attempted('stowage', 'scheduled', 3)
  metrics.attempted('stowage', 'unschedulable', 1)
  metrics.attempted('stowage', 'error', 1)
  metrics.phase('stowage', 'Filter', 0.15)
  metrics.bound('stowage', 2, 1_500)
  metrics.bound('stowage', 40, 100)
  metrics.queued('active', 'PodAdd')
  metrics.preempted(3)
  metrics.preempted(0)
  metrics.fellBack('stowage', 'random')
  metrics.unreadable('Pod')
  metrics.decided({ policy: 'kube-default', source: 'heuristic', cycleMs: 0.04 })
  metrics.decided({ policy: '', source: 'none', cycleMs: -1 })
  metrics.bindFailed('conflict')
  metrics.watchCut('pods')
  metrics.relisted('pods')
  return metrics
}

/** series -> value, the process's own left out */
const seriesOf = async (metrics: Metrics): Promise<ReadonlyMap<string, number>> =>
  new Map(
    (await metrics.scrape()).body.split('\n').flatMap((line) => {
      const at = line.lastIndexOf(' ')
      return line === '' || line.startsWith('#') || /^(process|nodejs)_/.test(line)
        ? []
        : [[line.slice(0, at), Number(line.slice(at + 1))]]
    }),
  )

test('dashboards made for kube-scheduler find its names, labels and buckets', async () => {
  const series = await seriesOf(busy())
  const expected: [string, number][] = [
    ['scheduler_schedule_attempts_total{result="scheduled",profile="stowage"}', 2],
    ['scheduler_schedule_attempts_total{result="unschedulable",profile="stowage"}', 1],
    ['scheduler_scheduling_attempt_duration_seconds_bucket{le="0.001",result="scheduled",profile="stowage"}', 1],
    ['scheduler_scheduling_attempt_duration_seconds_bucket{le="16.384",result="scheduled",profile="stowage"}', 2],
    [
      'scheduler_framework_extension_point_duration_seconds_bucket{le="0.0002",extension_point="Filter",status="Success",profile="stowage"}',
      1,
    ],
    ['scheduler_pod_scheduling_sli_duration_seconds_sum{attempts="2"}', 1.5],
    ['scheduler_pod_scheduling_sli_duration_seconds_count{attempts="15+"}', 1],
    ['scheduler_pod_scheduling_attempts_bucket{le="2"}', 1],
    ['scheduler_preemption_attempts_total', 2],
    ['scheduler_preemption_victims_bucket{le="4"}', 1],
    ['scheduler_preemption_victims_sum', 3],
    ['scheduler_pending_pods{queue="unschedulable"}', 3],
    ['scheduler_pending_pods{queue="gated"}', 4],
    ['scheduler_queue_incoming_pods_total{queue="active",event="PodAdd"}', 1],
    ['scheduler_scheduler_cache_size{type="nodes"}', 6],
    ['scheduler_scheduler_cache_size{type="assumed_pods"}', 1],
    ['scheduler_unschedulable_pods{plugin="NodeResourcesFit",profile="stowage"}', 3],
  ]
  for (const [name, value] of expected) assert.equal(series.get(name), value, name)
})

test('the names of the deep-RL scheduler are served as numbers, not as text in quotes', async () => {
  const series = await seriesOf(busy())
  const expected: [string, number][] = [
    ['drl_scheduler_schedule_attempts_total{status="success"}', 2],
    ['drl_scheduler_schedule_attempts_total{status="failed"}', 2],
    ['drl_scheduler_schedule_duration_seconds_count', 4],
    ['drl_scheduler_cluster_cpu_usage', 0.5],
    ['drl_scheduler_cluster_memory_usage', 0.25],
    ['drl_scheduler_node_count{state="ready"}', 5],
    ['drl_scheduler_node_count{state="not_ready"}', 1],
    ['drl_scheduler_pod_count', 9],
  ]
  for (const [name, value] of expected) assert.equal(series.get(name), value, name)
})

test('the conservation sum, fallbacks, failed binds and lost decisions can be watched', async () => {
  const series = await seriesOf(busy())
  const state = (name: string): number => series.get(`stowage_pods{state="${name}"}`) ?? Number.NaN
  assert.equal(
    state('seen'),
    state('bound') + state('waiting') + state('gated') + state('deleted') + state('in_flight'),
  )
  assert.equal(series.get('stowage_decisions_total{policy="kube-default",source="heuristic"}'), 1)
  assert.equal(series.get('stowage_decision_duration_seconds_bucket{le="0.00005"}'), 1)
  assert.equal(series.get('stowage_decision_duration_seconds_count'), 1)
  assert.equal(series.get('stowage_fallbacks_total{profile="stowage",policy="random"}'), 1)
  assert.equal(series.get('stowage_bind_failures_total{kind="conflict"}'), 1)
  assert.equal(series.get('stowage_decisions_lost_total'), 1)
  assert.equal(series.get('stowage_leader'), 1)
})

test('a scrape reads the system as it is then: what is gone is no longer listed', async () => {
  let plugins = ['NodeAffinity', 'NodePorts']
  const metrics = new Metrics()
  metrics.observe({
    ...source,
    unschedulable: () => plugins.map((plugin) => ({ plugin, profile: 'stowage', pods: 1 })),
  })
  assert.ok((await seriesOf(metrics)).has('scheduler_unschedulable_pods{plugin="NodePorts",profile="stowage"}'))
  plugins = ['NodeAffinity']
  const series = await seriesOf(metrics)
  assert.ok(!series.has('scheduler_unschedulable_pods{plugin="NodePorts",profile="stowage"}'))
  assert.equal(series.get('stowage_decisions_lost_total'), 1)
})

test('label values from outside can neither break the format nor grow without bound', async () => {
  const metrics = new Metrics()
  for (let i = 0; i < 5_000; i++) metrics.queued('active', `event "${i}"\n\\}`)
  const { body } = await metrics.scrape()
  const lines = body.split('\n').filter((line) => line.startsWith('scheduler_queue_incoming_pods_total{'))
  assert.ok(lines.length <= 201, `${lines.length} series`)
  assert.equal(
    lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0),
    5_000,
  )
  for (const line of lines)
    assert.match(
      line,
      /^scheduler_queue_incoming_pods_total\{queue="\w+",event="(event \\"\d+\\"\\n\\\\\}|other)"\} \d+$/,
    )
})

test('every metric has help and a type, and every line is in the exposition format', async () => {
  const { body, contentType } = await busy().scrape()
  assert.match(contentType, /^text\/plain; version=0\.0\.4/)
  const types = new Map<string, string>()
  const helps = new Set<string>()
  for (const line of body.split('\n')) {
    if (line === '') continue
    const help = /^# HELP ([a-z][a-z0-9_]*) \S/.exec(line)
    const type = /^# TYPE ([a-z][a-z0-9_]*) (counter|gauge|histogram)$/.exec(line)
    if (help?.[1] !== undefined) helps.add(help[1])
    else if (type?.[1] !== undefined) types.set(type[1], type[2] ?? '')
    else {
      const sample = /^([a-z][a-z0-9_]*)(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$/.exec(line)
      assert.ok(sample?.[1] !== undefined, line)
      const family = types.has(sample[1]) ? sample[1] : sample[1].replace(/_(bucket|sum|count)$/, '')
      assert.ok(types.has(family) && helps.has(family), line)
      if (types.get(family) === 'counter') assert.match(family, /_total$/)
    }
  }
})

test('no series is served twice, whatever number of profiles there is', async () => {
  const metrics = busy()
  metrics.attempted('batch', 'scheduled', 1)
  metrics.attempted('batch', 'error', 1)
  const names = (await metrics.scrape()).body
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.slice(0, line.lastIndexOf(' ')))
  assert.deepEqual(
    names.filter((name, at) => names.indexOf(name) !== at),
    [],
  )
})

test('a duration that is no number costs its sample and nothing else', async () => {
  const metrics = busy()
  metrics.attempted('stowage', 'scheduled', Number.NaN)
  metrics.bound('stowage', 1, Number.POSITIVE_INFINITY)
  const series = await seriesOf(metrics)
  assert.equal(series.get('scheduler_schedule_attempts_total{result="scheduled",profile="stowage"}'), 3)
  assert.equal(series.get('drl_scheduler_schedule_duration_seconds_count'), 4)
  assert.ok([...series.values()].every((value) => Number.isFinite(value)))
})

const promtool = spawnSync('promtool', ['--version']).status === 0
test('promtool finds nothing to say but the names that the original chose', {
  skip: promtool ? false : 'promtool is not on this machine',
}, async () => {
  const { body } = await busy().scrape()
  let output = ''
  try {
    output = execFileSync('promtool', ['check', 'metrics'], { input: body, encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    output = stdout + stderr
  }
  const named = /^drl_scheduler_(node|pod)_count /
  assert.deepEqual(
    output.split('\n').filter((line) => line !== '' && !named.test(line)),
    [],
  )
})

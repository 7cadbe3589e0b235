import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseExperiment } from './experiment-file.ts'

const PODS = `name: pods
cluster: { shapes: ['cpu=16,memory=64Gi'], nodes: 20 }
workload:
  synthetic: { pods: 300, duration: 5m }
policies: [kube_default, borg]
seeds: 1-3
`
const SERVICE = `name: service
workload:
  service: { scenario: ../scenarios/web.yaml, duration: 90s }
patterns: [ramp, { name: spike, max_users: 200 }]
policies: [borg]
seeds: 7
metrics: [latency_p95]
`

describe('an experiment file', () => {
  it('says nodes, pods, policies and seeds, with defaults for the rest', () => {
    assert.deepEqual(parseExperiment('/srv/pods.yaml', PODS), {
      name: 'pods',
      description: '',
      results: 'comparison',
      cluster: { shapes: ['cpu=16,memory=64Gi'], nodes: 20 },
      workload: { synthetic: { pods: 300, duration: 300_000 } },
      policies: ['kube-default', 'borg'],
      seeds: [1, 2, 3],
    })
  })

  it('says a service under load patterns, its paths being relative to the file', () => {
    const { metrics, patterns, seeds, workload } = parseExperiment('/srv/experiments/service.yaml', SERVICE)
    assert.deepEqual(workload.service, { scenarios: ['/srv/scenarios/web.yaml'], duration: 90_000 })
    assert.deepEqual(patterns, [{ name: 'ramp' }, { name: 'spike', max_users: 200 }])
    assert.deepEqual([seeds, metrics], [[7], ['latency_p95']])
  })

  const broken: readonly (readonly [title: string, text: string, expected: RegExp])[] = [
    ['an unknown key', PODS.replace('seeds:', 'sedes:'), /a\.yaml line 6: "sedes".*one of name, .*seeds/],
    ['an unknown key further in', PODS.replace('pods: 300', 'pots: 300'), /line 4: .*synthetic\.pots.*pods, duration/],
    ['an unknown key of a pattern', SERVICE.replace('max_users', 'users'), /line 4: .*users.*min_users, max_users/],
    ['a key that would reach into objects', `__proto__: { a: 1 }\n${PODS}`, /line 1: "__proto__"/],
    ['a value out of range', PODS.replace('300', '-3'), /line 4: workload\.synthetic\.pods is -3/],
    ['no duration', PODS.replace('5m', 'soon'), /line 4: workload\.synthetic\.duration is "soon".*such as 90s/],
    ['an unknown policy', PODS.replace('borg', 'brog'), /line 5: policies\.1 is "brog".*one of kube-default/],
    ['a policy twice', PODS.replace('borg', 'kube-default'), /line 5: policies\.1 .*each once/],
    ['broken seeds', PODS.replace('1-3', '3-1'), /line 6: seeds is "3-1".*42-51/],
    ['an unknown metric', `${PODS}metrics: [latency_p95]\n`, /line 7: metrics\.0 is "latency_p95".*cpu_utilisation/],
    ['a name that would be another folder', PODS.replace('name: pods', 'name: ../x'), /line 1: name is "\.\.\/x"/],
    [
      'two workloads',
      PODS.replace('synthetic:', 'openb: {directory: x, duration: 1m}\n  synthetic:'),
      /one of synthetic/,
    ],
    ['no nodes', PODS.replace(/cluster:.*\n/, ''), /cluster is missing.*shapes or openb/],
    [
      'nodes beside a recorded trace, which has its own',
      PODS.replace(/synthetic:.*/, 'recorded: { file: last-week.trace }'),
      /cluster .*the recorded trace has its nodes/,
    ],
    ['nodes beside a service', `${SERVICE}cluster: { shapes: [cpu=1] }\n`, /line 8: cluster .*names its nodes/],
    [
      'a service without a scenario',
      SERVICE.replace('scenario: ../scenarios/web.yaml, ', ''),
      /line 3: workload\.service .*either scenario or/,
    ],
    [
      'users beside arrivals',
      SERVICE.replace(/patterns: .*/, 'patterns: [{ name: arrivals, max_users: 5 }]'),
      /patterns\.0.*no users: arrivals come from a list/,
    ],
    ['patterns without a service', `${PODS}patterns: [ramp]\n`, /line 7: patterns .*none/],
    ['broken YAML', 'name: [', /a\.yaml line 1: /],
    ['no map', '- name', /the file is \["name"\]/],
  ]
  for (const [title, text, expected] of broken)
    it(`is refused for ${title}, with its line and what is allowed`, () => {
      assert.throws(() => parseExperiment('a.yaml', text), expected)
    })
})

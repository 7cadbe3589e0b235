import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { claimOf } from '../virtual/kubelet-admission.ts'
import {
  OPENB_NODE_LIST,
  OPENB_POD_LIST,
  openbNodes,
  openbPod,
  openbPodLists,
  openbPodRows,
  readOpenb,
  readOpenbRows,
} from './openb.ts'

const NODES = `sn,cpu_milli,memory_mib,gpu,model
openb-node-0000,64000,262144,2,P100
openb-node-0001,96000,786432,8,G2
openb-node-0002,32000,131072,0,
`
const HEADER =
  'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time'
const PODS = `${HEADER}
openb-pod-0000,12000,16384,1,1000,,LS,Running,100,700,0
openb-pod-0001,6000,12288,1,460,,LS,Running,50,350,427061
openb-pod-0002,6000,12288,1,810,V100M16|V100M32,BE,Failed,200,1100,
openb-pod-0003,96000,1024,8,1000,,BE,Running,300,400,300
openb-pod-0004,4000,1024,0,0,,Burstable,Running,400,400,400
`
const podsOf = (text: string) =>
  openbPodRows('pods.csv', text).map((row) => openbPod(row, { schedulerName: 'stowage', namespace: 'default' }))

test('a node offers its GPUs in thousandths, and says which model they are', () => {
  const [first, , third] = openbNodes('nodes.csv', NODES)
  assert.deepEqual(first, {
    name: 'openb-node-0000',
    allocatable: {
      cpu: '64000m',
      memory: '262144Mi',
      pods: '1001',
      'ephemeral-storage': '1Ti',
      'stowage.dev/gpu-milli': '2000',
    },
    labels: {
      'topology.kubernetes.io/region': 'region-1',
      'topology.kubernetes.io/zone': 'zone-a',
      'node.kubernetes.io/instance-type': 'openb.p100-2',
      'nvidia.com/gpu.product': 'P100',
      'nvidia.com/gpu.count': '2',
    },
    taints: [],
  })
  assert.equal(third?.allocatable['stowage.dev/gpu-milli'], undefined)
  assert.equal(third?.labels['nvidia.com/gpu.product'], undefined)
})

test('a pod asks for its share of one GPU, or for whole ones', () => {
  const claims = podsOf(PODS).map((pod) => {
    const { request } = claimOf(pod)
    return [request.get('cpu'), request.get('stowage.dev/gpu-milli')]
  })
  assert.deepEqual(claims, [
    [12_000, 1000],
    [6000, 460],
    [6000, 810],
    [96_000, 8000],
    [4000, undefined],
  ])
})

test('rows can be had as they are, for experiments that change the trace first', () => {
  assert.deepEqual(openbPodRows('pods.csv', PODS)[2], {
    name: 'openb-pod-0002',
    cpuMilli: 6000,
    memoryMiB: 12_288,
    gpuMilli: 810,
    gpuCount: 1,
    models: ['V100M16', 'V100M32'],
    qos: 'BE',
    creationS: 200,
    deletionS: 1100,
  })
})

test('allowed GPU models become required node affinity, the class of service a label', () => {
  const [, , third, fourth] = podsOf(PODS)
  assert.deepEqual(third?.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution, {
    nodeSelectorTerms: [
      { matchExpressions: [{ key: 'nvidia.com/gpu.product', operator: 'In', values: ['V100M16', 'V100M32'] }] },
    ],
  })
  assert.deepEqual(third?.metadata?.labels, { 'stowage.dev/qos': 'BE' })
  assert.equal(fourth?.spec?.affinity, undefined)
})

const withTrace = async (
  files: Readonly<Record<string, string>>,
  run: (directory: string) => Promise<void>,
): Promise<void> => {
  const directory = await mkdtemp(join(tmpdir(), 'stowage-'))
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text)
    await run(directory)
  } finally {
    await rm(directory, { recursive: true })
  }
}

test('the trace is brought to the wanted time: arrivals in order, lives in recorded time with the speed to divide by', async () => {
  await withTrace({ [OPENB_NODE_LIST]: NODES, [OPENB_POD_LIST]: PODS }, async (directory) => {
    const { nodes, arrivals, speed } = await readOpenb({ directory, spanMs: 2100, schedulerName: 'stowage' })
    assert.equal(nodes.length, 3)
    assert.equal(speed, 500, '1050 recorded seconds in 2.1')
    assert.deepEqual(
      arrivals.map(({ atMs, pod }) => [pod.metadata?.name, atMs, pod.metadata?.annotations]),
      [
        [
          'openb-pod-0001',
          0,
          {
            'stowage.dev/trace-creation-s': '50',
            'stowage.dev/trace-deletion-s': '350',
            'stowage.dev/duration': '300s',
          },
        ],
        [
          'openb-pod-0000',
          100,
          {
            'stowage.dev/trace-creation-s': '100',
            'stowage.dev/trace-deletion-s': '700',
            'stowage.dev/duration': '600s',
          },
        ],
        [
          'openb-pod-0002',
          300,
          {
            'stowage.dev/trace-creation-s': '200',
            'stowage.dev/trace-deletion-s': '1100',
            'stowage.dev/duration': '900s',
          },
        ],
        [
          'openb-pod-0003',
          500,
          {
            'stowage.dev/trace-creation-s': '300',
            'stowage.dev/trace-deletion-s': '400',
            'stowage.dev/duration': '100s',
          },
        ],
        [
          'openb-pod-0004',
          700,
          {
            'stowage.dev/trace-creation-s': '400',
            'stowage.dev/trace-deletion-s': '400',
            'stowage.dev/duration': '0s',
          },
        ],
      ],
    )
    const staying = await readOpenb({ directory, spanMs: 2100, schedulerName: 'stowage', departures: false })
    assert.ok(staying.arrivals.every(({ pod }) => pod.metadata?.annotations?.['stowage.dev/duration'] === undefined))
  })
})

test('a quiet beginning is passed over: the first hundredth of the pods comes at once, with what is left of its life', async () => {
  const late = Array.from(
    { length: 199 },
    (_, index) => `late-${index},1,1,0,0,,LS,Running,${1_000_000 + index},${1_000_300 + index},`,
  )
  const text = [HEADER, 'early,1,1,0,0,,LS,Running,0,1000100,', ...late].join('\n')
  await withTrace({ [OPENB_NODE_LIST]: NODES, 'other.csv': text }, async (directory) => {
    const { arrivals } = await readOpenb({ directory, podList: 'other.csv', spanMs: 1000, schedulerName: 's' })
    assert.deepEqual([arrivals[0]?.pod.metadata?.name, arrivals[0]?.atMs], ['early', 0])
    assert.equal(arrivals[0]?.pod.metadata?.annotations?.['stowage.dev/duration'], '99s')
    assert.ok((arrivals[100]?.atMs ?? 0) > 100)
  })
})

const row = (changed: Readonly<Record<string, string>>): string => {
  const good: Record<string, string> = {
    name: 'p',
    cpu_milli: '1',
    memory_mib: '1',
    num_gpu: '1',
    gpu_milli: '500',
    gpu_spec: '',
    qos: 'LS',
  }
  const times = { pod_phase: 'Running', creation_time: '5', deletion_time: '9', scheduled_time: '' }
  return `${HEADER}\n${Object.values({ ...good, ...times, ...changed }).join(',')}\n`
}
for (const [name, text, message] of [
  [
    'a number that is none',
    row({ cpu_milli: '12x' }),
    /pods\.csv line 2: "12x" in column cpu_milli; expected a whole number/,
  ],
  ['a negative number', row({ memory_mib: '-1' }), /line 2: "-1" in column memory_mib/],
  [
    'more than a whole GPU as a share',
    row({ gpu_milli: '1001' }),
    /"1001" in column gpu_milli; expected a whole number up to 1000/,
  ],
  [
    'shares of several GPUs',
    row({ num_gpu: '2' }),
    /"500" in column gpu_milli; expected 1000 where a pod asks for several/,
  ],
  [
    'a GPU of which nothing is asked',
    row({ gpu_milli: '0' }),
    /"0" in column gpu_milli; expected a share of 1 to 1000/,
  ],
  ['a share of no GPU', row({ num_gpu: '0' }), /"0" in column num_gpu; expected at least 1/],
  [
    'a model that cannot be a label',
    row({ gpu_spec: 'A 10' }),
    /"A 10" in column gpu_spec; expected GPU models separated by \|/,
  ],
  ['a name that cannot be a pod’s', row({ name: 'Pod_1' }), /"Pod_1" in column name/],
  [
    'an end before the beginning',
    row({ deletion_time: '4' }),
    /"4" in column deletion_time; expected a time not before creation_time 5/,
  ],
  [
    'the same name twice',
    `${row({})}${row({}).split('\n')[1]}\n`,
    /line 3: "p" in column name; expected a name that no line before has/,
  ],
  ['a value too few', `${HEADER}\np,1,1\n`, /line 2: 3 values; expected 11 values/],
  ['a column too few', 'name,cpu_milli\n', /line 1: no column memory_mib, num_gpu/],
  ['nothing in it', '', /line 1: no column name/],
] as const) {
  test(`a pod list with ${name} is an error that names file, line and column`, () => {
    assert.throws(() => openbPodRows('pods.csv', text), {
      name: 'StowageError',
      code: 'TRACE_MALFORMED',
      message,
    })
  })
}

test('a node list is read as strictly', () => {
  const bad = NODES.replace('786432', 'much')
  assert.throws(() => openbNodes('nodes.csv', bad), {
    code: 'TRACE_MALFORMED',
    message: /nodes\.csv line 3: "much" in column memory_mib/,
  })
})

test('a folder without the lists is an error that says what it should hold', async () => {
  await withTrace({}, async (directory) => {
    await assert.rejects(readOpenb({ directory, spanMs: 1, schedulerName: 's' }), {
      code: 'FILE_UNREADABLE',
      message: /openb_node_list_gpu_node\.csv \(ENOENT.*expected a folder that holds the openb lists/,
    })
  })
})

test('a folder says which pod lists it holds, and a list can be called by its short name', async () => {
  const lists = { [OPENB_NODE_LIST]: NODES, [OPENB_POD_LIST]: PODS, 'openb_pod_list_cpu250.csv': HEADER, 'a.csv': '' }
  await withTrace(lists, async (directory) => {
    assert.deepEqual(await openbPodLists(directory), ['cpu250', 'default'])
    assert.equal((await readOpenbRows({ directory, podList: 'cpu250' })).pods.length, 0)
    await assert.rejects(openbPodLists(join(directory, 'none')), { code: 'FILE_UNREADABLE' })
  })
})

const trace = process.env['STOWAGE_OPENB']
test('the real trace has the nodes, GPUs and pods that its authors count', {
  skip: trace === undefined && 'STOWAGE_OPENB names no folder with the openb trace',
}, async () => {
  const { nodes, arrivals } = await readOpenb({ directory: trace ?? '', spanMs: 60_000, schedulerName: 's' })
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
  assert.equal(nodes.length, 1213)
  assert.equal(sum(nodes.map(({ allocatable }) => Number(allocatable['stowage.dev/gpu-milli'] ?? 0))), 6_212_000)
  assert.equal(sum(nodes.map(({ allocatable }) => Number.parseInt(allocatable['cpu'] ?? '', 10))), 107_018_000)
  const kinds = Map.groupBy(arrivals, ({ pod }) => {
    const milli = claimOf(pod).request.get('stowage.dev/gpu-milli') ?? 0
    return milli === 0 ? 'none' : milli < 1000 ? 'shared' : String(milli / 1000)
  })
  assert.deepEqual(Object.fromEntries([...kinds].map(([kind, of]) => [kind, of.length])), {
    '1': 3911,
    '2': 16,
    '4': 15,
    '8': 44,
    shared: 3078,
    none: 1088,
  })
})

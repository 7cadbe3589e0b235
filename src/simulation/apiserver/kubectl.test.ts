import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../clock/clock.ts'
import type { NodeObject, PodObject } from '../../cluster/objects.ts'
import { type EmbeddedApiServer, startApiServer } from './server.ts'

const assets = process.env['KUBEBUILDER_ASSETS'] ?? ''
const skip = assets === '' ? 'KUBEBUILDER_ASSETS is not set: it names a folder with kubectl' : false

const podYaml = `apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - {name: main, image: "example.com/app:1", ports: [{containerPort: 80}]}
`

const definitionYaml = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gpujobs.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: gpujobs, kind: GPUJob, shortNames: [gj]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              gpus: {type: integer, minimum: 1, description: How many of them.}
              type: {type: string, default: any}
    additionalPrinterColumns:
    - {name: GPUs, type: integer, jsonPath: .spec.gpus}
    - {name: Type, type: string, jsonPath: .spec.type}
`

describe('kubectl against the embedded API server', { skip, timeout: 120_000 }, () => {
  let server: EmbeddedApiServer
  const folder = mkdtempSync(join(tmpdir(), 'stowage-kubectl-'))
  const file = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }

  /** @param onOutput told of the output so far; true ends kubectl */
  const run = (
    args: readonly string[],
    onOutput: (output: string) => boolean = () => false,
  ): Promise<{ code: number | null; output: string }> =>
    new Promise((resolve, reject) => {
      const child = spawn(join(assets, 'kubectl'), [
        '--kubeconfig',
        join(folder, 'kubeconfig'),
        '--cache-dir',
        join(folder, 'cache'),
        ...args,
      ])
      let output = ''
      const hear = (chunk: Buffer): void => {
        output += chunk.toString()
        if (onOutput(output)) child.kill()
      }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, output }))
    })
  /** What kubectl printed, when all went well. */
  const kubectl = async (...args: string[]): Promise<string> => {
    const { code, output } = await run(args)
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${output}`)
    return output
  }
  /** Columns are as wide as their contents; only the words matter. */
  const words = (output: string): string[] =>
    output
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/ {2,}/).join('|'))

  before(async () => {
    server = await startApiServer({ clock: systemClock })
    file('kubeconfig', server.kubeconfig())
    const node: NodeObject = {
      metadata: { name: 'n1', labels: { 'kubernetes.io/hostname': 'n1' } },
      status: { capacity: { cpu: '4', memory: '8Gi', pods: '110' }, conditions: [{ type: 'Ready', status: 'True' }] },
    }
    server.objects.create('nodes', node)
  })
  after(async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('apply creates, changes nothing the second time, and changes what the file changes', async () => {
    const path = file('web.yaml', podYaml)
    assert.equal(await kubectl('apply', '-f', path), 'pod/web created\n')
    assert.equal(await kubectl('apply', '-f', path), 'pod/web unchanged\n')
    file('web.yaml', podYaml.replace('app: web', 'app: other'))
    assert.equal(await kubectl('apply', '-f', path), 'pod/web configured\n')
    assert.equal(await kubectl('get', 'pod', 'web', '-o', 'jsonpath={.metadata.labels.app}'), 'other')
    assert.equal(
      await kubectl('apply', '--server-side', '--force-conflicts', '-f', path),
      'pod/web serverside-applied\n',
    )
  })

  test('apply says which field of a file does not exist', async () => {
    const path = file(
      'wrong.yaml',
      podYaml.replace('spec:', 'spec:\n  nodeSelectr: {a: b}').replace('name: web', 'name: wrong'),
    )
    const { code, output } = await run(['apply', '-f', path])
    assert.equal(code, 1)
    assert.match(output, /unknown field "spec\.nodeSelectr"/)
  })

  test('get shows pods and nodes as people know them', async () => {
    assert.deepEqual(
      words(await kubectl('get', 'pods', '-A', '--no-headers')).map((line) => line.replace(/\|\d+s$/, '')),
      ['default|web|0/1|Pending|0'],
    )
    assert.match(
      await kubectl('get', 'pods', '-o', 'wide'),
      /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES\n/,
    )
    assert.match(await kubectl('get', 'nodes'), /^NAME +STATUS +ROLES +AGE +VERSION\nn1 +Ready +<none> /)
    assert.equal(await kubectl('get', 'pods', '-l', 'app=nobody', '-o', 'name'), '')
    assert.equal(await kubectl('get', 'pods', '--field-selector', 'status.phase=Pending', '-o', 'name'), 'pod/web\n')
  })

  test('label, annotate, patch, taint, cordon and uncordon', async () => {
    assert.equal(await kubectl('label', 'pod', 'web', 'x=y'), 'pod/web labeled\n')
    assert.equal(await kubectl('annotate', 'pod', 'web', 'a=b'), 'pod/web annotated\n')
    assert.equal(await kubectl('patch', 'pod', 'web', '-p', '{"metadata":{"labels":{"x":null}}}'), 'pod/web patched\n')
    assert.equal(await kubectl('taint', 'node', 'n1', 'gpu=yes:NoSchedule'), 'node/n1 tainted\n')
    assert.equal(await kubectl('cordon', 'n1'), 'node/n1 cordoned\n')
    assert.match(await kubectl('get', 'nodes'), /Ready,SchedulingDisabled/)
    assert.equal(await kubectl('uncordon', 'n1'), 'node/n1 uncordoned\n')
    assert.equal(await kubectl('taint', 'node', 'n1', 'gpu-'), 'node/n1 untainted\n')
    const { metadata } = server.objects.get('pods', 'default', 'web') as PodObject
    assert.deepEqual([metadata?.labels, metadata?.annotations?.['a']], [{ app: 'other' }, 'b'])
  })

  test('describe tells of a pod, its events, and of a node with what is on it', async () => {
    server.objects.create('events.events.k8s.io', {
      metadata: { name: 'web.1', namespace: 'default' },
      eventTime: new Date(systemClock.nowMs()).toISOString().replace('Z', '000Z'),
      reportingController: 'example.com/s',
      reportingInstance: 's-1',
      action: 'Scheduling',
      reason: 'FailedScheduling',
      regarding: {
        kind: 'Pod',
        namespace: 'default',
        name: 'web',
        uid: server.objects.get('pods', 'default', 'web')?.metadata?.uid,
      },
      note: '0/1 nodes are available: 1 Insufficient cpu.',
      type: 'Warning',
    } as PodObject)
    const pod = await kubectl('describe', 'pod', 'web')
    assert.match(pod, /Tolerations: +node\.kubernetes\.io\/not-ready:NoExecute op=Exists for 300s/)
    assert.match(pod, /Warning +FailedScheduling +\S+ +example\.com\/s +0\/1 nodes are available: 1 Insufficient cpu\./)
    assert.match(await kubectl('events'), /FailedScheduling +Pod\/web/)
    assert.match(await kubectl('get', 'events'), /Warning +FailedScheduling +pod\/web +0\/1 nodes/)
    assert.match(await kubectl('describe', 'node', 'n1'), /Non-terminated Pods: +\(0 in total\)/)
  })

  test('create of everything that has a command of its own', async () => {
    assert.equal(await kubectl('create', 'namespace', 'team'), 'namespace/team created\n')
    assert.equal(await kubectl('create', 'configmap', 'c', '--from-literal=a=b', '-n', 'team'), 'configmap/c created\n')
    assert.equal(
      await kubectl('create', 'secret', 'generic', 's', '--from-literal=a=b', '-n', 'team'),
      'secret/s created\n',
    )
    assert.equal(
      await kubectl('create', 'priorityclass', 'high', '--value=1000', '--description=d'),
      'priorityclass.scheduling.k8s.io/high created\n',
    )
    assert.equal(
      await kubectl('create', 'deployment', 'd', '--image=i', '--replicas=3', '-n', 'team'),
      'deployment.apps/d created\n',
    )
    assert.equal(
      await kubectl('run', 'r', '--image=i', '-n', 'team', '--overrides', '{"spec":{"schedulerName":"mine"}}'),
      'pod/r created\n',
    )
    assert.equal(await kubectl('get', 'pod', 'r', '-n', 'team', '-o', 'jsonpath={.spec.schedulerName}'), 'mine')
    assert.equal(await kubectl('get', 'secret', 's', '-n', 'team', '-o', 'jsonpath={.data.a}'), 'Yg==')
    assert.equal(
      await kubectl(
        'get',
        'deployment',
        'd',
        '-n',
        'team',
        '-o',
        'jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}',
      ),
      '3 i',
    )
    assert.equal(await kubectl('delete', 'namespace', 'team'), 'namespace "team" deleted\n')
  })

  test('wait for a condition, for a field and for a delete', async () => {
    assert.equal(await kubectl('wait', '--for=condition=Ready', 'node/n1', '--timeout=20s'), 'node/n1 condition met\n')
    const running = kubectl('wait', '--for=jsonpath={.status.phase}=Running', 'pod/web', '--timeout=20s')
    const bound = server.objects.get('pods', 'default', 'web') as PodObject
    server.objects.update('pods', { ...bound, status: { ...bound.status, phase: 'Running' } } as PodObject, 'status')
    assert.equal(await running, 'pod/web condition met\n')
    server.objects.create('pods', {
      metadata: { name: 'going', namespace: 'default' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    } as PodObject)
    const gone = kubectl('wait', '--for=delete', 'pod/going', '--timeout=20s')
    server.objects.remove('pods', 'default', 'going')
    await gone
  })

  test('get -w follows changes', async () => {
    let changed = false
    const { output } = await run(['get', 'pods', '-w', '--no-headers'], (soFar) => {
      if (!changed && soFar.includes('web')) {
        changed = true
        const pod = server.objects.get('pods', 'default', 'web') as PodObject
        server.objects.update('pods', { ...pod, status: { ...pod.status, phase: 'Succeeded' } } as PodObject, 'status')
      }
      return soFar.includes('Succeeded')
    })
    assert.match(output, /web +0\/1 +Running[^]*web +0\/1 +Succeeded/)
  })

  test('explain, api-resources, top, and logs that are not there', async () => {
    assert.match(await kubectl('explain', 'pod.spec.tolerations.operator'), /FIELD: operator <string>/)
    assert.match(await kubectl('api-resources'), /pods +po +v1 +true +Pod/)
    assert.equal(await kubectl('auth', 'can-i', 'create', 'pods'), 'yes\n')
    assert.match(await kubectl('auth', 'whoami'), /Username +admin/)
    server.setNodeUsage('n1', { cpuMilli: 400, memoryBytes: 2 * 1024 ** 3 })
    assert.match(await kubectl('top', 'node'), /n1 +400m +10% +2048Mi +25%/)
    const { code, output } = await run(['logs', 'web'])
    assert.equal(code, 1)
    assert.match(output, /pods\/log is not available/)
  })

  test('a definition is applied, and its objects are applied, read, explained and gone like any other', async () => {
    const definition = file('definition.yaml', definitionYaml)
    assert.match(await kubectl('apply', '-f', definition), /gpujobs\.example\.com created/)
    await kubectl('wait', '--for', 'condition=Established', 'crd/gpujobs.example.com', '--timeout', '10s')
    assert.match(await kubectl('get', 'crd'), /gpujobs\.example\.com/)
    const job = file('job.yaml', 'apiVersion: example.com/v1\nkind: GPUJob\nmetadata: {name: j}\nspec: {gpus: 2}\n')
    assert.equal(await kubectl('apply', '-f', job), 'gpujob.example.com/j created\n')
    assert.equal(await kubectl('apply', '-f', job), 'gpujob.example.com/j unchanged\n')
    assert.deepEqual(words(await kubectl('get', 'gj')), ['NAME|GPUS|TYPE', 'j|2|any'])
    assert.equal(await kubectl('get', 'gpujobs', '-A', '-o', 'jsonpath={.items[*].spec.type}'), 'any')
    assert.match(await kubectl('explain', 'gpujob.spec.gpus'), /FIELD: gpus <integer>[^]*How many of them/)
    assert.equal(
      await kubectl('patch', 'gj', 'j', '--type', 'merge', '-p', '{"spec":{"gpus":3}}'),
      'gpujob.example.com/j patched\n',
    )
    file('job.yaml', 'apiVersion: example.com/v1\nkind: GPUJob\nmetadata: {name: j}\nspec: {gpu: 2}\n')
    assert.match((await run(['apply', '-f', job])).output, /unknown field "spec\.gpu"/)
    file('job.yaml', 'apiVersion: example.com/v1\nkind: GPUJob\nmetadata: {name: j}\nspec: {gpus: 0}\n')
    assert.match(
      (await run(['apply', '-f', job])).output,
      /spec\.gpus: Invalid value: 0: spec\.gpus in body should be greater than or equal to 1/,
    )
    assert.match(await kubectl('delete', 'crd', 'gpujobs.example.com'), /gpujobs\.example\.com" deleted/)
    assert.match((await run(['get', 'gpujobs'])).output, /could not find the requested resource/)
  })

  test('delete, and what is gone cannot be found', async () => {
    assert.equal(await kubectl('delete', 'pod', 'web'), 'pod "web" deleted from default namespace\n')
    const { code, output } = await run(['get', 'pod', 'web'])
    assert.deepEqual([code, output], [1, 'Error from server (NotFound): pods "web" not found\n'])
  })
})

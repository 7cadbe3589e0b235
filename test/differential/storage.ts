// The volumes of a generated world: classes, claims, volumes, what CSI drivers say, and the pods that use them.
import fc from 'fast-check'
import type { KubeObject, PodSpec, Quantities } from '../../src/cluster/objects.ts'

/** Any object besides nodes and pods, for the collection at `path`. */
export interface OtherObject {
  readonly path: string
  readonly object: KubeObject
}

const { constantFrom, integer, array, uniqueArray, record, boolean } = fc

const ZONE = 'topology.kubernetes.io/zone'
const HOSTNAME = 'kubernetes.io/hostname'
const DRIVERS = ['disks.example.com', 'files.example.com'] as const
/** Claims live where most pods do. */
const NAMESPACE = 'default'

/** How claims of a class come to their volumes. */
const CLASSES = ['immediate', 'later', 'later-in-a', 'counted', 'static'] as const
type ClassKind = (typeof CLASSES)[number]

type ClaimState = 'bound' | 'unbound' | 'lost'
const claimWith = (states: readonly ClaimState[], kinds: readonly ClassKind[], accessModes: readonly string[]) =>
  record({
    state: constantFrom(...states),
    kind: constantFrom(...kinds),
    size: constantFrom('1Gi', '5Gi', '20Gi'),
    accessMode: constantFrom(...accessModes),
    place: constantFrom('anywhere', 'zone', 'zone label', 'zone label', 'node'),
    zone: constantFrom('a', 'b', 'c'),
    node: integer({ min: 0, max: 15 }),
    driver: constantFrom(...DRIVERS),
  })
type Claim = ReturnType<typeof claimWith> extends fc.Arbitrary<infer T> ? T : never
const claim = claimWith(['bound', 'bound', 'bound', 'bound', 'unbound', 'unbound', 'lost'], CLASSES, [
  'ReadWriteOnce',
  'ReadWriteOnce',
  'ReadWriteMany',
  'ReadWriteMany',
  'ReadWriteOncePod',
])
/** Of which nodes differ in how well they suit, not only in whether they do. */
const scoredClaim = claimWith(
  ['unbound'],
  ['counted', 'counted', 'static'],
  ['ReadWriteOnce', 'ReadWriteOnce', 'ReadWriteMany'],
)

const freeVolume = record({
  size: constantFrom('2Gi', '3Gi', '6Gi', '10Gi', '15Gi', '25Gi', '50Gi', '80Gi'),
  accessModes: constantFrom(['ReadWriteOnce'], ['ReadWriteOnce', 'ReadWriteMany']),
  place: constantFrom('anywhere', 'zone', 'node'),
  zone: constantFrom('a', 'b', 'c'),
  node: integer({ min: 0, max: 15 }),
})

/** What is drawn of a world's storage; `scored`: mostly what the scores of nodes depend on. */
export const storage = (scored: boolean) =>
  record({
    claims: array(scored ? scoredClaim : claim, { minLength: scored ? 10 : 6, maxLength: 11 }),
    // Neither two volumes of one size nor two sources of volumes for one zone: which one kube-scheduler takes, and with it the
    // score and whether a second claim still finds a volume, is an accident of Go's maps there (README.md).
    freeVolumes: uniqueArray(freeVolume, {
      minLength: scored ? 5 : 0,
      maxLength: scored ? 8 : 4,
      selector: ({ size }) => size,
    }),
    limits: array(scored ? constantFrom(undefined, 2, 5) : constantFrom(undefined, 1, 1, 1, 2), {
      minLength: 16,
      maxLength: 16,
    }),
    attachments: array(record({ node: integer({ min: 0, max: 15 }), claim: integer({ min: 0, max: 9 }) }), {
      maxLength: 3,
    }),
    preventsIfMissing: boolean(),
    capacities: uniqueArray(
      record({ zone: constantFrom('a', 'b', 'c'), capacity: constantFrom('0', '4Gi', '30Gi', '90Gi') }),
      { minLength: scored ? 2 : 0, maxLength: 3, selector: ({ zone }) => zone },
    ),
  })
export type Storage = ReturnType<typeof storage> extends fc.Arbitrary<infer T> ? T : never

/** What one pod uses: numbers of claims, which may not exist, and other kinds of volume. */
export const podVolumes = record({
  claims: fc.uniqueArray(integer({ min: 0, max: 10 }), { minLength: 1, maxLength: 2 }),
  readOnly: boolean(),
  disk: constantFrom(
    'none',
    'none',
    'none',
    'gcePersistentDisk',
    'rbd',
    'iscsi',
    'awsElasticBlockStore',
    'ephemeral',
    'csi',
  ),
  number: constantFrom(1, 2),
})
export type PodVolumes = typeof podVolumes extends fc.Arbitrary<infer T> ? T : never

/** Numbers of claims that one pod at a time may use. */
export const exclusiveClaims = ({ claims }: Storage): ReadonlySet<number> =>
  new Set(claims.keys().filter((number) => claims[number]?.accessMode === 'ReadWriteOncePod'))

const className = (world: number, kind: ClassKind): string => `w${world}-${kind}`
const claimName = (world: number, number: number): string => `w${world}-claim-${number}`
const volumeName = (world: number, number: number): string => `w${world}-volume-${number}`

/** `spec.volumes` of a pod. */
export const volumesOf = (world: number, drawn: PodVolumes): NonNullable<PodSpec['volumes']> => {
  const { readOnly } = drawn
  const volumes: object[] = drawn.claims.map((number, at) => ({
    name: `data-${at}`,
    persistentVolumeClaim: { claimName: claimName(world, number) },
  }))
  const name = 'disk'
  const disks: Readonly<Record<string, object>> = {
    gcePersistentDisk: { name, gcePersistentDisk: { pdName: `disk-${drawn.number}`, readOnly } },
    rbd: { name, rbd: { monitors: ['m1', `m${drawn.number}`], pool: 'rbd', image: 'one', readOnly } },
    iscsi: { name, iscsi: { targetPortal: 'p:1', iqn: `iqn.2026-01.com.example:${drawn.number}`, lun: 0, readOnly } },
    awsElasticBlockStore: { name, awsElasticBlockStore: { volumeID: `vol-${drawn.number}`, readOnly } },
    csi: { name, csi: { driver: DRIVERS[0] } },
    ephemeral: {
      name,
      ephemeral: {
        volumeClaimTemplate: {
          spec: {
            accessModes: ['ReadWriteOnce'],
            storageClassName: className(world, 'later'),
            resources: { requests: { storage: '1Gi' } },
          },
        },
      },
    },
  }
  const disk = disks[drawn.disk]
  return disk === undefined ? volumes : [...volumes, disk]
}

const placeOf = (
  world: number,
  { place, zone, node }: { place: string; zone: string; node: number },
): { labels?: Record<string, string>; nodeAffinity?: object } => {
  const on = (key: string, value: string) => ({
    nodeAffinity: {
      required: { nodeSelectorTerms: [{ matchExpressions: [{ key, operator: 'In', values: [value] }] }] },
    },
  })
  if (place === 'zone') return on(ZONE, zone)
  if (place === 'node') return on(HOSTNAME, `w${world}-n${node}`)
  return place === 'zone label' ? { labels: { [ZONE]: zone } } : {}
}

const volumeObject = (
  name: string,
  world: number,
  drawn: { size: string; place: string; zone: string; node: number; accessModes: readonly string[] },
  storageClassName: string,
  driver: string,
  claimRef: object | undefined,
): OtherObject => {
  const { labels, nodeAffinity } = placeOf(world, drawn)
  const spec = {
    capacity: { storage: drawn.size } as Quantities,
    accessModes: drawn.accessModes,
    storageClassName,
    csi: { driver, volumeHandle: name },
    ...(nodeAffinity === undefined ? {} : { nodeAffinity }),
    ...(claimRef === undefined ? {} : { claimRef }),
  }
  return {
    path: '/api/v1/persistentvolumes',
    object: {
      metadata: { name, ...(labels === undefined ? {} : { labels }) },
      spec,
      status: { phase: claimRef === undefined ? 'Available' : 'Bound' },
    } as KubeObject,
  }
}

/** The driver that a class's volumes belong to. */
const driverOf = (kind: ClassKind): string => (kind === 'counted' ? DRIVERS[1] : DRIVERS[0])

/** A claim and the volume it is bound to, as the controller would have left them. */
function* claimObjects(world: number, number: number, drawn: Claim): Generator<OtherObject> {
  const name = claimName(world, number)
  const { state, kind, size, accessMode } = drawn
  const bound = state !== 'unbound'
  if (state === 'bound')
    yield volumeObject(
      volumeName(world, number),
      world,
      { ...drawn, accessModes: [accessMode] },
      className(world, kind),
      drawn.driver,
      { namespace: NAMESPACE, name },
    )
  yield {
    path: `/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims`,
    object: {
      metadata: {
        name,
        namespace: NAMESPACE,
        ...(bound ? { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } } : {}),
      },
      spec: {
        accessModes: [accessMode],
        storageClassName: className(world, kind),
        resources: { requests: { storage: size } },
        ...(bound ? { volumeName: volumeName(world, number) } : {}),
      },
      status: { phase: bound ? 'Bound' : 'Pending' },
    } as KubeObject,
  }
}

/** Everything of a world's storage, in an order in which it can be created. */
export function* storageObjects(world: number, nodes: number, drawn: Storage): Generator<OtherObject> {
  for (const kind of CLASSES) {
    yield {
      path: '/apis/storage.k8s.io/v1/storageclasses',
      object: {
        metadata: { name: className(world, kind) },
        provisioner: kind === 'static' ? 'kubernetes.io/no-provisioner' : driverOf(kind),
        volumeBindingMode: kind === 'immediate' ? 'Immediate' : 'WaitForFirstConsumer',
        ...(kind === 'later-in-a'
          ? { allowedTopologies: [{ matchLabelExpressions: [{ key: ZONE, values: ['a'] }] }] }
          : {}),
      } as KubeObject,
    }
  }
  for (const [at, name] of DRIVERS.entries()) {
    yield {
      path: '/apis/storage.k8s.io/v1/csidrivers',
      object: {
        metadata: { name },
        spec: {
          attachRequired: true,
          storageCapacity: at === 1,
          ...(at === 0 && drawn.preventsIfMissing ? { preventPodSchedulingIfMissing: true } : {}),
        },
      } as KubeObject,
    }
  }
  for (const [at, { zone, capacity }] of drawn.capacities.entries()) {
    yield {
      path: `/apis/storage.k8s.io/v1/namespaces/${NAMESPACE}/csistoragecapacities`,
      object: {
        metadata: { name: `w${world}-capacity-${at}`, namespace: NAMESPACE },
        storageClassName: className(world, 'counted'),
        nodeTopology: { matchLabels: { [ZONE]: zone } },
        capacity,
      } as KubeObject,
    }
  }
  for (const [number, claim] of drawn.claims.entries()) yield* claimObjects(world, number, claim)
  for (const [at, volume] of drawn.freeVolumes.entries())
    yield volumeObject(`w${world}-free-${at}`, world, volume, className(world, 'static'), DRIVERS[0], undefined)
  for (let node = 0; node < nodes; node++) {
    const count = drawn.limits[node]
    const name = `w${world}-n${node}`
    if (count !== undefined)
      yield {
        path: '/apis/storage.k8s.io/v1/csinodes',
        object: {
          metadata: { name },
          spec: { drivers: [{ name: DRIVERS[0], nodeID: name, topologyKeys: [], allocatable: { count } }] },
        } as KubeObject,
      }
  }
  for (const [at, { node, claim }] of drawn.attachments.entries()) {
    if (node >= nodes || drawn.claims[claim]?.state !== 'bound') continue
    yield {
      path: '/apis/storage.k8s.io/v1/volumeattachments',
      object: {
        metadata: { name: `w${world}-attachment-${at}` },
        spec: {
          attacher: drawn.claims[claim].driver,
          nodeName: `w${world}-n${node}`,
          source: { persistentVolumeName: volumeName(world, claim) },
        },
      } as KubeObject,
    }
  }
}

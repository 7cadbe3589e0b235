import type { Clock } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { KubeObject } from '../cluster/objects.ts'
import type { Connection } from '../kubernetes/connection.ts'
import { ListWatch } from '../kubernetes/list-watch.ts'
import {
  collectionPath,
  CSI_DRIVERS,
  CSI_NODES,
  DISRUPTION_BUDGETS,
  NAMESPACES,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  type ResourceKind,
  SERVICES,
  STATEFUL_SETS,
  STORAGE_CAPACITIES,
  STORAGE_CLASSES,
  VOLUME_ATTACHMENTS,
} from '../kubernetes/objects.ts'
import { findPodGroups } from '../kubernetes/pod-groups.ts'
import type { RecordedKind } from '../simulation/traces/recorded-fields.ts'
import type { TraceRecorder } from '../simulation/traces/recorder.ts'

const PRIORITY_CLASSES: ResourceKind = {
  root: '/apis/scheduling.k8s.io/v1',
  plural: 'priorityclasses',
  namespaced: false,
}

/** Everything that a scheduler reads. Nodes first, so that a trace is read most easily. */
const RECORDED: readonly (readonly [RecordedKind, ResourceKind])[] = [
  ['Node', NODES],
  ['Namespace', NAMESPACES],
  ['PriorityClass', PRIORITY_CLASSES],
  ['PodDisruptionBudget', DISRUPTION_BUDGETS],
  ['PersistentVolumeClaim', PERSISTENT_VOLUME_CLAIMS],
  ['PersistentVolume', PERSISTENT_VOLUMES],
  ['StorageClass', STORAGE_CLASSES],
  ['CSINode', CSI_NODES],
  ['CSIDriver', CSI_DRIVERS],
  ['VolumeAttachment', VOLUME_ATTACHMENTS],
  ['CSIStorageCapacity', STORAGE_CAPACITIES],
  ['Service', SERVICES],
  ['ReplicationController', REPLICATION_CONTROLLERS],
  ['ReplicaSet', REPLICA_SETS],
  ['StatefulSet', STATEFUL_SETS],
  ['Pod', PODS],
]

export interface RecordingOptions {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
  readonly recorder: TraceRecorder
  /** ends the recording */
  readonly signal: AbortSignal
  /** Once, when everything that is there has been recorded; `missing`: kinds that the server refuses or does not have. */
  readonly onSynced: (missing: readonly string[]) => void
  /** reading was interrupted and goes on by itself */
  readonly onTrouble: (kind: string, why: string) => void
}

/** `v1`, `storage.k8s.io/v1` */
const apiVersionOf = ({ root }: ResourceKind): string => root.replace(/^\/apis?\//, '')

/**
 * Tells a recorder of everything in a cluster that schedulers read, until the signal is aborted. Finished pods are read too,
 * for how they ended. Resolves once nothing is under way any more; never rejects for what the server does.
 */
export const recordCluster = async (options: RecordingOptions): Promise<void> => {
  const { clock, connection, onSynced, onTrouble, random, recorder, signal } = options
  /** kinds that have not been read once; the search for PodGroups is one of them */
  const open = new Set<string>(['podgroups'])
  const missing = new Set<string>()
  const running: Promise<void>[] = []
  let synced = false
  const settle = (kind: string): void => {
    open.delete(kind)
    if (synced || [...open].some((one) => !missing.has(one))) return
    synced = true
    recorder.synced([...missing])
    onSynced([...missing])
  }
  const read = (kind: RecordedKind, resource: ResourceKind): void => {
    const name = apiVersionOf(resource).includes('/')
      ? `${resource.plural} (${apiVersionOf(resource)})`
      : resource.plural
    open.add(name)
    const watch = new ListWatch<KubeObject>({
      connection,
      clock,
      random: random.fork(),
      path: collectionPath(resource),
      feed: recorder.feed(kind, apiVersionOf(resource), () => {
        missing.delete(name)
        settle(name)
      }),
      observer: {
        listed: () => undefined,
        interrupted: (_path, why) => {
          // What is refused may never come; nodes and pods are the trace.
          if (open.has(name) && kind !== 'Node' && kind !== 'Pod') {
            missing.add(name)
            settle('')
          }
          onTrouble(name, why)
        },
      },
    })
    running.push(watch.run(signal))
  }
  for (const [kind, resource] of RECORDED) read(kind, resource)
  await findPodGroups({
    connection,
    clock,
    random: random.fork(),
    signal,
    onServed: (_source, resource) => read('PodGroup', resource),
    onTrouble: (why) => onTrouble('podgroups', why),
  })
  settle('podgroups')
  await Promise.all(running)
}

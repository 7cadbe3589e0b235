import { type Clock } from '../clock/clock.ts'
import type { ClusterState } from '../cluster/state.ts'
import { type Pod, podKey } from '../cluster/pod.ts'
import { nodeTermMatches } from '../cluster/labels.ts'
import type { Node } from '../cluster/node.ts'
import type { KubeObject } from '../cluster/objects.ts'
import {
  BOUND_BY_CONTROLLER,
  type PersistentVolume,
  type PersistentVolumeClaim,
  SELECTED_NODE,
  type VolumePlan,
} from '../cluster/volumes.ts'
import { messageOf } from '../errors/catalogue.ts'
import { BindFailure, type ClaimBinder } from '../scheduling/ports.ts'
import { ApiRefusal, type Connection } from './connection.ts'
import { patchObject, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, type ResourceKind } from './objects.ts'

export interface ApiClaimBinderOptions {
  readonly connection: Connection
  readonly clock: Clock
  /** as its watches show it; nothing is written to it */
  readonly cluster: ClusterState
  /** @default 600,000, kube-scheduler's bindTimeoutSeconds */
  readonly timeoutMs?: number
}

const TIMEOUT_MS = 600_000
/** What is no matter of volumes, the node above all, is looked at this often. */
const LOOK_AGAIN_MS = 1000

/** What was written, and the resource version it got: older views say nothing about it. */
interface Written {
  readonly claim: PersistentVolumeClaim
  /** undefined: a volume is to be made */
  readonly volume: PersistentVolume | undefined
  readonly version: string
}

/** Whether what is known of an object is older than what we wrote; versions are decimal numbers that grow. */
const isOlder = (version: string, than: string): boolean =>
  version.length === than.length ? version < than : version.length < than.length

/**
 * Has claims bound as kube-scheduler does (v1.37): the volume names its claim, or the claim the node for which a volume is
 * to be made; the volume controller and the provisioner do the rest. What is written stays if the rest fails.
 */
export class ApiClaimBinder implements ClaimBinder {
  readonly #options: ApiClaimBinderOptions

  constructor(options: ApiClaimBinderOptions) {
    this.#options = options
  }

  async bindClaims(pod: Pod, nodeName: string, plan: VolumePlan, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const late = new AbortController()
    const timer = clock.after(this.#options.timeoutMs ?? TIMEOUT_MS, () => late.abort(TOO_LATE))
    const until = AbortSignal.any([signal, late.signal])
    try {
      await this.#nominate(pod, nodeName, until)
      const written: Written[] = []
      for (const { claim, volume } of plan.bindings)
        written.push({ claim, volume, version: await this.#reserve(volume, claim, until) })
      for (const { claim } of plan.provisions)
        written.push({ claim, volume: undefined, version: await this.#select(claim, nodeName, until) })
      await this.#allBound(nodeName, written, until)
    } catch (error) {
      if (late.signal.aborted) throw new BindFailure('error', `binding volumes: ${TOO_LATE.message}`, { cause: error })
      if (signal.aborted)
        throw new BindFailure('error', `stopped before the claims of ${podKey(pod)} were bound`, { cause: error })
      if (error instanceof BindFailure) throw error
      const said = error instanceof ApiRefusal && error.said !== '' ? error.said : messageOf(error)
      const conflict = error instanceof ApiRefusal && error.status === 409
      throw new BindFailure(conflict ? 'conflict' : 'error', said, { cause: error })
    } finally {
      timer.cancel()
    }
  }

  /** Autoscalers are told early where the pod will go; it is no reason to fail if they cannot be. */
  async #nominate(pod: Pod, nodeName: string, signal: AbortSignal): Promise<void> {
    if (pod.nominatedNodeName === nodeName) return
    const patch = { metadata: { uid: pod.uid }, status: { nominatedNodeName: nodeName } }
    try {
      await patchObject(this.#options.connection, PODS, pod.namespace, pod.name, patch, 'status', signal)
    } catch (error) {
      if (signal.aborted) throw error
    }
  }

  /** @returns the version from which on the volume names the claim */
  async #reserve(volume: PersistentVolume, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<string> {
    const { claimRef, resourceVersion } = volume
    if (claimRef?.uid === claim.uid) return resourceVersion
    const { namespace, name, uid } = claim
    return this.#patch(
      PERSISTENT_VOLUMES,
      volume,
      {
        metadata: {
          resourceVersion,
          // Where a person has reserved it, it must not be taken for the controller's doing.
          ...(claimRef === undefined ? { annotations: { [BOUND_BY_CONTROLLER]: 'yes' } } : {}),
        },
        spec: {
          claimRef: {
            apiVersion: 'v1',
            kind: 'PersistentVolumeClaim',
            namespace,
            name,
            uid,
            resourceVersion: claim.resourceVersion,
          },
        },
      },
      signal,
    )
  }

  /** @returns the version from which on the claim names the node */
  async #select(claim: PersistentVolumeClaim, nodeName: string, signal: AbortSignal): Promise<string> {
    const { resourceVersion, selectedNode, uid } = claim
    if (selectedNode === nodeName) return resourceVersion
    const metadata = { resourceVersion, uid, annotations: { [SELECTED_NODE]: nodeName } }
    return this.#patch(PERSISTENT_VOLUME_CLAIMS, claim, { metadata }, signal)
  }

  async #patch(
    kind: ResourceKind,
    { namespace = '', name }: { readonly namespace?: string; readonly name: string },
    patch: unknown,
    signal: AbortSignal,
  ): Promise<string> {
    const { metadata } = await patchObject<KubeObject>(
      this.#options.connection,
      kind,
      namespace,
      name,
      patch,
      undefined,
      signal,
    )
    return metadata?.resourceVersion ?? ''
  }

  /** Resolves when the watches show all of it done. @throws BindFailure as soon as it cannot be any more */
  #allBound(nodeName: string, written: readonly Written[], signal: AbortSignal): Promise<void> {
    const { clock, cluster } = this.#options
    return new Promise((resolve, reject) => {
      const end = (): void => {
        stopListening()
        timer.cancel()
        signal.removeEventListener('abort', onAbort)
      }
      const onAbort = (): void => {
        end()
        reject(signal.reason as Error)
      }
      const look = (): void => {
        try {
          if (!this.#isDone(nodeName, written)) return
          end()
          resolve()
        } catch (error) {
          end()
          reject(error)
        }
      }
      const lookAgain = (): void => {
        timer = clock.after(LOOK_AGAIN_MS, lookAgain)
        look()
      }
      const stopListening = cluster.volumes.onChange(look)
      let timer = clock.after(LOOK_AGAIN_MS, lookAgain)
      signal.addEventListener('abort', onAbort, { once: true })
      if (signal.aborted) onAbort()
      else look()
    })
  }

  #isDone(nodeName: string, written: readonly Written[]): boolean {
    const { cluster } = this.#options
    const index = cluster.indexOf(nodeName)
    if (index < 0) throw failed(`failed to get node "${nodeName}": node "${nodeName}" not found`)
    const node = cluster.node(index)
    return written.every((one) =>
      one.volume === undefined ? this.#isProvisioned(one, node) : this.#isReserved(one, one.volume.name, node),
    )
  }

  #isReserved({ claim: { namespace, name }, version }: Written, volumeName: string, node: Node): boolean {
    const { volumes } = this.#options.cluster
    const volume = volumes.volumeAsStored(volumeName)
    if (volume === undefined) throw failed(`failed to check binding: persistentvolumes "${volumeName}" not found`)
    const claim = volumes.claimAsStored(namespace, name)
    if (claim === undefined)
      throw failed(`failed to check binding: persistentvolumeclaims "${namespace}/${name}" not found`)
    if (isOlder(volume.resourceVersion, version)) return false
    checkAffinity(volume, node)
    if (volume.claimRef === undefined || volume.claimRef.uid === '')
      throw failed(`ClaimRef got reset for pv "${volumeName}"`)
    return claim.bound
  }

  #isProvisioned({ claim: { namespace, name }, version }: Written, node: Node): boolean {
    const { volumes } = this.#options.cluster
    const claim = volumes.claimAsStored(namespace, name)
    if (claim === undefined)
      throw failed(`failed to check provisioning pvc: persistentvolumeclaims "${namespace}/${name}" not found`)
    if (isOlder(claim.resourceVersion, version)) return false
    // A provisioner that cannot make the volume takes the node away again.
    if (claim.selectedNode !== node.name) throw failed(`provisioning failed for PVC "${name}"`)
    if (claim.volumeName !== '') {
      const volume = volumes.volumeAsStored(claim.volumeName)
      if (volume === undefined) return false
      checkAffinity(volume, node)
    }
    return claim.bound
  }
}

const TOO_LATE = new Error('context deadline exceeded')

const failed = (why: string): BindFailure => new BindFailure('error', `binding volumes: ${why}`)

const checkAffinity = ({ name, nodeTerms }: PersistentVolume, node: Node): void => {
  if (nodeTerms !== undefined && !nodeTerms.some((term) => nodeTermMatches(term, node.labels, '')))
    throw failed(`pv "${name}" node affinity doesn't match node "${node.name}": no matching NodeSelectorTerms`)
}

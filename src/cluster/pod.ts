import type { GangMembership } from './gangs.ts'
import type { GpuRequest } from './gpu-request.ts'
import type { LabelSelector, NodeSelectorTerm, SelectorRequirement, Taint, Toleration } from './objects.ts'
import type { ResourceVector } from './resources.ts'
import type { PodVolumes } from './volumes.ts'

export type Labels = Readonly<Record<string, string>>

/** A port that a pod takes on its node. */
export interface HostPort {
  /** `0.0.0.0` stands for every address */
  readonly hostIp: string
  readonly protocol: string
  readonly port: number
}

export interface PreferredTerm {
  readonly weight: number
  readonly preference: NodeSelectorTerm
}

/**
 * A label selector in the one form that equal selectors share: requirements that must all hold, in a fixed order. undefined
 * matches no pod, an empty list every pod.
 */
export type PodSelector = readonly SelectorRequirement[] | undefined

/** A rule about the pods near a node, as the pod's template has it; what depends on the pod's own labels is still open. */
export interface PodAffinityTerm {
  readonly topologyKey: string
  readonly selector: PodSelector
  /** named namespaces, to which those that `namespaceSelector` matches are added; neither: the pod's own */
  readonly namespaces: readonly string[]
  readonly namespaceSelector: PodSelector
  /** labels that the others must have as the pod has them, where the selector does not speak of them yet */
  readonly matchLabelKeys: readonly string[]
  /** labels that the others must not have as the pod has them */
  readonly mismatchLabelKeys: readonly string[]
}

/** `weight` is negative where the pod would rather be away from them. */
export interface PreferredPodTerm {
  readonly weight: number
  readonly term: PodAffinityTerm
}

export interface TopologySpreadConstraint {
  readonly topologyKey: string
  readonly maxSkew: number
  readonly minDomains: number
  /** false: nodes that break it are only worse */
  readonly required: boolean
  readonly selector: PodSelector
  readonly matchLabelKeys: readonly string[]
  /** only nodes that the pod's node affinity and selector allow are counted */
  readonly honorsAffinity: boolean
  /** only nodes whose taints the pod tolerates are counted */
  readonly honorsTaints: boolean
}

/**
 * What pods of one template share as far as placement goes. Equal shapes are one object, so rules may keep what they
 * worked out for a shape in a WeakMap. Labels are not part of it: a StatefulSet gives each of its pods another one.
 */
export interface PodShape {
  /** unique while the shape lives */
  readonly id: number
  /** What the pod asks of a node: Kubernetes' pod request (sidecars, init containers, pod level, overhead). */
  readonly request: ResourceVector
  /** what of that is GPUs, which are given out one by one; undefined: none */
  readonly gpu: GpuRequest | undefined
  /** What scores count instead: a container without the key counts 100 millicores or 200 MiB; `spec.resources` is ignored, as kube-scheduler does. */
  readonly scoringCpuMilli: number
  readonly scoringMemoryBytes: number
  readonly nodeSelector: Labels
  /** ORed; undefined: the pod has no required node affinity. An empty list matches no node. */
  readonly requiredTerms: readonly NodeSelectorTerm[] | undefined
  readonly preferredTerms: readonly PreferredTerm[]
  readonly podAffinity: readonly PodAffinityTerm[]
  readonly podAntiAffinity: readonly PodAffinityTerm[]
  readonly preferredPodTerms: readonly PreferredPodTerm[]
  readonly spread: readonly TopologySpreadConstraint[]
  readonly tolerations: readonly Toleration[]
  readonly hostPorts: readonly HostPort[]
  /** Names with a tag, init containers' first, one entry a container. */
  readonly images: readonly string[]
  readonly schedulingGates: readonly string[]
  /** what a node must declare in status.declaredFeatures */
  readonly requiredFeatures: readonly string[]
  /** parts of the spec whose rules this version does not know yet (`podAffinity`, `resource claims`, ...): such a pod waits with a reason that names them */
  readonly unsupported: readonly string[]
}

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'

/** A pod as the scheduler keeps it: a slim record, never the object from the wire. Immutable; a change is a new record. */
export interface Pod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly resourceVersion: string
  readonly generation: number
  readonly schedulerName: string
  readonly priority: number
  readonly preemptionPolicy: 'PreemptLowerPriority' | 'Never'
  readonly labels: Labels
  /** only those under `stowage.dev/`, `agentaflow.gpu/` and the autoscalers' keys; the rest is never kept */
  readonly annotations: Labels
  /** uid of the controlling owner, '' without one */
  readonly ownerUid: string
  /** `ReplicaSet/name` and the like while it has no node, if its controller is of a kind that has a selector; else '' */
  readonly controller: string
  /** the gang it is placed with, undefined if with none */
  readonly gang: GangMembership | undefined
  /** the node it is bound to, '' while it is not */
  readonly nodeName: string
  readonly nominatedNodeName: string
  readonly phase: PodPhase
  readonly deleting: boolean
  readonly createdAtMs: number
  /** when its node began with it, to the second; Infinity: not yet */
  readonly startedAtMs: number
  /** a scheduler is evicting it to make room (DisruptionTarget with PreemptionByScheduler) */
  readonly preempted: boolean
  readonly shape: PodShape
  /** which GPUs of its node it has, as its annotation says or as we have decided; undefined: nobody has said */
  readonly gpuDevices: readonly number[] | undefined
  /** no part of the shape: claims of StatefulSets differ from pod to pod. Equal ones are one object. */
  readonly volumes: PodVolumes
  /** What the pod takes on its node once placed: differs from the shape's after an in-place resize. */
  readonly placedRequest: ResourceVector
  readonly placedScoringCpuMilli: number
  readonly placedScoringMemoryBytes: number
  /** the PodScheduled condition as the API server has it, to write it only when it changes; undefined: none yet */
  readonly scheduledCondition:
    | { readonly status: string; readonly reason: string; readonly message: string }
    | undefined
}

/** `namespace/name`, as people write it. */
export const podKey = (pod: { readonly namespace: string; readonly name: string }): string =>
  `${pod.namespace}/${pod.name}`

/** Finished pods take nothing. */
export const isFinished = (phase: PodPhase): boolean => phase === 'Succeeded' || phase === 'Failed'

export type { LabelSelector, NodeSelectorTerm, Taint, Toleration }

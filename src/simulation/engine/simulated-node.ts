import type { NodeObject } from '../../cluster/objects.ts'
import type { NodeShape } from '../workload/node-shapes.ts'

/** A node as far as a scheduler reads it: with the labels that every node has, ready, and with everything its shape offers. */
export const simulatedNode = (shape: NodeShape, uid: string): NodeObject => {
  const { allocatable, annotations, declaredFeatures = [], images = [], labels, name, taints } = shape
  return {
    metadata: {
      name,
      uid,
      labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/arch': 'amd64', 'kubernetes.io/os': 'linux', ...labels },
      ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
    },
    spec: taints.length === 0 ? {} : { taints: [...taints] },
    status: {
      allocatable: { ...allocatable },
      conditions: [{ type: 'Ready', status: 'True' }],
      images: [...images],
      declaredFeatures: [...declaredFeatures],
    },
  }
}

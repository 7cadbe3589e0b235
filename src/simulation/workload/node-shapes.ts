import { StowageError, messageOf } from '../../errors/catalogue.ts'
import type { ContainerImage, Taint } from '../../cluster/objects.ts'
import { quantityMilli } from '../../cluster/quantity.ts'

/** What a virtual node offers. */
export interface NodeShape {
  readonly name: string
  /** resource -> quantity as Kubernetes writes it, `cpu`, `memory` and `pods` always among them */
  readonly allocatable: Readonly<Record<string, string>>
  /** beside those that every virtual node gets */
  readonly labels: Readonly<Record<string, string>>
  readonly taints: readonly Taint[]
  /** @default none */
  readonly annotations?: Readonly<Record<string, string>>
  /** what lies on its disk. @default nothing */
  readonly images?: readonly ContainerImage[]
  /** status.declaredFeatures. @default none */
  readonly declaredFeatures?: readonly string[]
}

/** The shape of a node when nobody says otherwise. */
export const DEFAULT_NODE_SHAPE = 'cpu=16,memory=64Gi,pods=110'
export const ZONES: readonly string[] = ['zone-a', 'zone-b', 'zone-c']
export const REGION = 'region-1'
/** The address plan of virtual nodes (virtual-node-object.ts) ends here. */
export const MAX_NODES = 16_000

const RESOURCE = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const EXAMPLE = `resources and an optional count, such as ${DEFAULT_NODE_SHAPE},nvidia.com/gpu=8,count=20`

const invalid = (found: string, expected: string, cause?: unknown): StowageError =>
  new StowageError('CONFIG_INVALID_VALUE', { found, expected }, cause === undefined ? undefined : { cause })

interface ParsedShape {
  readonly allocatable: Record<string, string>
  readonly count: number | undefined
}

const wholeNumber = (text: string, least: number): number | undefined => {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  return value >= least ? value : undefined
}

const parseShape = (text: string): ParsedShape => {
  const given = new Map<string, string>()
  let count: number | undefined
  for (const part of text.split(',')) {
    const [key = '', value = '', ...rest] = part.split('=').map((piece) => piece.trim())
    const place = `node shape ${JSON.stringify(text)}: ${JSON.stringify(part.trim())}`
    if (rest.length > 0 || value === '' || !RESOURCE.test(key)) throw invalid(place, EXAMPLE)
    if (given.has(key) || (key === 'count' && count !== undefined))
      throw invalid(`${place} twice`, 'each resource once')
    if (key === 'count') {
      count = wholeNumber(value, 1)
      if (count === undefined) throw invalid(place, 'a count of at least 1')
      continue
    }
    try {
      const milli = quantityMilli(value)
      if (milli < 0) throw invalid(place, 'a quantity that is not negative')
      if (key !== 'cpu' && key !== 'memory' && milli % 1000 !== 0) throw invalid(place, 'a whole number')
    } catch (cause) {
      if (cause instanceof StowageError && cause.code === 'CONFIG_INVALID_VALUE') throw cause
      throw invalid(`${place} (${messageOf(cause)})`, EXAMPLE, cause)
    }
    given.set(key, value)
  }
  const allocatable: Record<string, string> = { cpu: '16', memory: '64Gi', pods: '110', 'ephemeral-storage': '100Gi' }
  for (const [key, value] of given) allocatable[key] = value
  return { allocatable, count }
}

/** `c16-m64gi-gpu8`: what cloud providers call an instance type, from what the node offers. */
const instanceType = (allocatable: Readonly<Record<string, string>>): string => {
  const gpus = Object.entries(allocatable).find(([name]) => name.endsWith('/gpu'))?.[1]
  return `c${allocatable['cpu']}-m${allocatable['memory']}${gpus === undefined ? '' : `-gpu${gpus}`}`.toLowerCase()
}

/** Puts nodes into zones in turn, so that every zone gets its share of every shape. */
export const zoneLabels = (index: number): Record<string, string> => ({
  'topology.kubernetes.io/region': REGION,
  'topology.kubernetes.io/zone': ZONES[index % ZONES.length] ?? '',
})

/**
 * The nodes that `--nodes` and `--node-shape` describe, named `node-0000` onwards, spread over three zones. Shapes without
 * a count share the nodes that counted ones leave, as evenly as they can.
 * @param shapes each `resource=quantity,...[,count=N]`; what is missing is 16 CPU, 64 GiB, 110 pods, 100 GiB of storage
 * @param nodes how many in all; undefined: the sum of the counts (100 where no shape is counted)
 * @throws StowageError CONFIG_INVALID_VALUE
 * @example nodeShapes(['cpu=16,memory=64Gi', 'cpu=96,memory=1Ti,nvidia.com/gpu=8,count=20'], 100) // 80 and 20 nodes
 */
export const nodeShapes = (shapes: readonly string[], nodes?: number): NodeShape[] => {
  const parsed = (shapes.length === 0 ? [DEFAULT_NODE_SHAPE] : shapes).map((shape) => parseShape(shape))
  const counted = parsed.reduce((sum, shape) => sum + (shape.count ?? 0), 0)
  const open = parsed.filter((shape) => shape.count === undefined).length
  const total = nodes ?? (counted === 0 ? 100 : counted)
  if (!Number.isInteger(total) || total < 0 || total > MAX_NODES) {
    throw invalid(`${total} nodes`, `a whole number from 0 to ${MAX_NODES}`)
  }
  const left = total - counted
  if (left < 0 || (left > 0 && open === 0)) {
    throw invalid(`${total} nodes, while the node shapes count ${counted}`, 'counts that add up to the number of nodes')
  }
  if (total > 0 && left < open) {
    throw invalid(`${total} nodes, which leaves none for some of the shapes without a count`, 'a node for each shape')
  }
  const digits = Math.max(4, String(total - 1).length)
  const result: NodeShape[] = []
  let openSeen = 0
  for (const { allocatable, count } of parsed) {
    const share = count ?? Math.floor(left / open) + (openSeen++ < left % open ? 1 : 0)
    for (let i = 0; i < share; i++) {
      const index = result.length
      result.push({
        name: `node-${String(index).padStart(digits, '0')}`,
        allocatable,
        labels: { ...zoneLabels(index), 'node.kubernetes.io/instance-type': instanceType(allocatable) },
        taints: [],
      })
    }
  }
  return result
}

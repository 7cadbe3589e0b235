// What says of a generated world's pods that they belong together: Services, and the controllers that own them.
import fc from 'fast-check'
import type { KubeObject, LabelSelector, OwnerReference } from '../../src/cluster/objects.ts'
import type { OtherObject } from './storage.ts'

const { constantFrom, integer, array, record } = fc

const service = (namespace: fc.Arbitrary<string>) =>
  record({
    namespace,
    selector: constantFrom<Record<string, string>[]>({ app: 'web' }, { app: 'db' }, { tier: 'front' }),
  })
export type Service = ReturnType<typeof service> extends fc.Arbitrary<infer T> ? T : never
export const services = (namespace: fc.Arbitrary<string>): fc.Arbitrary<Service[]> =>
  array(service(namespace), { maxLength: 3 })

export const serviceOf = (name: string, { namespace, selector }: Service): OtherObject => ({
  path: `/api/v1/namespaces/${namespace}/services`,
  object: { metadata: { name, namespace }, spec: { selector, ports: [{ protocol: 'TCP', port: 80 }] } } as KubeObject,
})

const KINDS = {
  ReplicaSet: { apiVersion: 'apps/v1', root: '/apis/apps/v1', plural: 'replicasets' },
  StatefulSet: { apiVersion: 'apps/v1', root: '/apis/apps/v1', plural: 'statefulsets' },
  ReplicationController: { apiVersion: 'v1', root: '/api/v1', plural: 'replicationcontrollers' },
} as const
/** The kind of each of a world's controllers: at most as many as are named here, so that pods often name one that is there. */
const KIND_OF: readonly (keyof typeof KINDS)[] = ['StatefulSet', 'ReplicationController', 'ReplicaSet']
const kindOf = (number: number): keyof typeof KINDS => KIND_OF[number] ?? 'ReplicaSet'

const controller = (namespace: fc.Arbitrary<string>) =>
  record({ namespace, app: constantFrom('web', 'web', 'db'), wide: constantFrom(false, false, true) })
export type Controller = ReturnType<typeof controller> extends fc.Arbitrary<infer T> ? T : never
export const controllers = (namespace: fc.Arbitrary<string>): fc.Arbitrary<Controller[]> =>
  array(controller(namespace), { minLength: KIND_OF.length, maxLength: KIND_OF.length })

const nameOf = (world: number, number: number): string => `w${world}-owner-${number}`

export const controllerOf = (world: number, number: number, { namespace, app, wide }: Controller): OtherObject => {
  const kind = kindOf(number)
  const { root, plural } = KINDS[kind]
  const labels = { app }
  const selector: LabelSelector | Record<string, string> =
    kind === 'ReplicationController'
      ? labels
      : wide
        ? { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'db'] }] }
        : { matchLabels: labels }
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'app' }] } }
  const serviceName = kind === 'StatefulSet' ? { serviceName: 'none' } : {}
  return {
    path: `${root}/namespaces/${namespace}/${plural}`,
    object: {
      metadata: { name: nameOf(world, number), namespace },
      spec: { ...serviceName, replicas: 0, selector, template },
    } as KubeObject,
  }
}

/** Who made a pod: one that is there, or was. */
export const owner = record({
  number: integer({ min: 0, max: KIND_OF.length - 1 }),
  controller: constantFrom(true, true, true, false),
})
type Owner = typeof owner extends fc.Arbitrary<infer T> ? T : never

export const ownerOf = (world: number, { number, controller }: Owner): OwnerReference => ({
  apiVersion: KINDS[kindOf(number)].apiVersion,
  kind: kindOf(number),
  name: nameOf(world, number),
  uid: `owner-${number}`,
  controller,
})

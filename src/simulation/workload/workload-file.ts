import { readFile, stat } from 'node:fs/promises'
import { parseAllDocuments } from 'yaml'
import type { KubeObject, ObjectMeta, PodObject, PodSpec } from '../../cluster/objects.ts'
import { StowageError, messageOf } from '../../errors/catalogue.ts'

/** What a workload file asks for. */
export interface Workload {
  /** to be created before the pods: Namespaces and PriorityClasses, in the order of the file */
  readonly objects: readonly KubeObject[]
  /** pods, with those of controllers written out, in the order of the file */
  readonly pods: readonly PodObject[]
}

const BYTES_AT_MOST = 16 * 2 ** 20
const PODS_AT_MOST = 200_000
/** Anchors that expand one into another can make a small file huge. */
const ALIASES_AT_MOST = 1000

/** How the pods of each kind are counted and named. */
const CONTROLLERS: Readonly<
  Record<
    string,
    { readonly count: 'replicas' | 'parallelism'; readonly name: (owner: string, index: number) => string }
  >
> = {
  Deployment: { count: 'replicas', name: (owner, index) => `${owner}-${suffix(owner, index)}` },
  ReplicaSet: { count: 'replicas', name: (owner, index) => `${owner}-${suffix(owner, index)}` },
  StatefulSet: { count: 'replicas', name: (owner, index) => `${owner}-${index}` },
  Job: { count: 'parallelism', name: (owner, index) => `${owner}-${suffix(owner, index)}` },
}
const BEFORE_PODS = ['Namespace', 'PriorityClass']
const EXPECTED = `a Pod, ${Object.keys(CONTROLLERS).join(', ')}, ${BEFORE_PODS.join(', ')} or a List of them`

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789'

/** FNV-1a, to give equal files equal names. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0
}

/** Five characters as Kubernetes appends them, different for each index of an owner. */
const suffix = (owner: string, index: number): string => {
  let rest = (hash(owner) + index) % ALPHABET.length ** 5
  let text = ''
  for (let i = 0; i < 5; i++) {
    text += ALPHABET[rest % ALPHABET.length] ?? ''
    rest = Math.floor(rest / ALPHABET.length)
  }
  return text
}

/** A uid that follows from a name, in the form of a uuid. */
const uidOf = (text: string): string => {
  const digits = [0, 1, 2, 3].map((part) => hash(`${text}/${part}`).toString(16).padStart(8, '0')).join('')
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join(
    '-',
  )
}

type Fields = Readonly<Record<string, unknown>>

/** One document of the file, which knows how to complain. */
class Place {
  readonly #file: string
  readonly #words: string

  constructor(file: string, words: string) {
    this.#file = file
    this.#words = words
  }

  item(index: number): Place {
    return new Place(this.#file, `${this.#words}, item ${index + 1}`)
  }

  malformed(found: string, expected: string, cause?: unknown): StowageError {
    const facts = { found: `${this.#file} ${this.#words}: ${found}`, expected }
    return new StowageError('WORKLOAD_MALFORMED', facts, cause === undefined ? undefined : { cause })
  }

  /** The map at `path` below `value`. */
  map(value: unknown, path: string): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.malformed(
        `${path} is ${value === undefined ? 'missing' : JSON.stringify(value).slice(0, 64)}`,
        `a map`,
      )
    }
    return value as Fields
  }

  optionalText(value: unknown, path: string): string | undefined {
    if (value === undefined || value === null) return undefined
    if (typeof value !== 'string')
      throw this.malformed(`${path} is ${JSON.stringify(value)?.slice(0, 64) ?? ''}`, 'text')
    return value
  }

  name(metadata: Fields): string {
    const name = this.optionalText(metadata['name'], 'metadata.name')
    if (name === undefined || name === '') throw this.malformed('metadata.name is missing', 'a name')
    return name
  }
}

const controllerPods = (document: Fields, kind: string, place: Place, budget: number): PodObject[] => {
  const controller = CONTROLLERS[kind]
  if (controller === undefined) return []
  const metadata = place.map(document['metadata'], 'metadata')
  const owner = place.name(metadata)
  const namespace = place.optionalText(metadata['namespace'], 'metadata.namespace')
  const spec = place.map(document['spec'], 'spec')
  const count = spec[controller.count] ?? 1
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0) {
    throw place.malformed(`spec.${controller.count} is ${JSON.stringify(count)}`, 'a whole number')
  }
  if (count > budget)
    throw place.malformed(`spec.${controller.count} is ${count}`, `at most ${PODS_AT_MOST} pods in the file`)
  const template = place.map(spec['template'], 'spec.template')
  const templateMeta =
    template['metadata'] === undefined ? {} : (place.map(template['metadata'], 'spec.template.metadata') as ObjectMeta)
  const podSpec = place.map(template['spec'], 'spec.template.spec') as PodSpec
  // Pods of a Deployment belong to the ReplicaSet that it makes.
  const [ownerKind, ownerName] = kind === 'Deployment' ? ['ReplicaSet', `${owner}-${suffix(owner, 0)}`] : [kind, owner]
  const ownerReference = {
    apiVersion: ownerKind === 'Job' ? 'batch/v1' : 'apps/v1',
    kind: ownerKind,
    name: ownerName,
    uid: uidOf(`${namespace ?? 'default'}/${ownerKind}/${ownerName}`),
    controller: true,
  }
  return Array.from({ length: count }, (_, index): PodObject => {
    const name = controller.name(ownerName, index)
    const labels =
      kind === 'StatefulSet'
        ? { 'statefulset.kubernetes.io/pod-name': name, 'apps.kubernetes.io/pod-index': String(index) }
        : {}
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        ...templateMeta,
        name,
        ...(namespace === undefined ? {} : { namespace }),
        labels: { ...templateMeta.labels, ...labels },
        ownerReferences: [ownerReference],
      },
      spec: podSpec,
    }
  })
}

/**
 * Reads the text of a workload file: YAML of one or more documents, or JSON.
 * @param file how to call it in errors
 * @throws StowageError WORKLOAD_MALFORMED that names the file, the document and what is wrong there
 */
export const parseWorkload = (file: string, text: string): Workload => {
  const objects: KubeObject[] = []
  const pods: PodObject[] = []
  const take = (value: unknown, place: Place): void => {
    const document = place.map(value, 'the document')
    const kind = place.optionalText(document['kind'], 'kind') ?? ''
    if (kind === 'List' || kind === 'PodList') {
      const items = document['items']
      if (!Array.isArray(items)) throw place.malformed('items is no list', 'a list of objects')
      for (const [index, item] of items.entries()) {
        const implied =
          kind === 'PodList' ? { apiVersion: 'v1', kind: 'Pod', ...place.item(index).map(item, 'the item') } : item
        take(implied, place.item(index))
      }
    } else if (kind === 'Pod') {
      const metadata = place.map(document['metadata'], 'metadata')
      if (typeof metadata['generateName'] !== 'string') place.name(metadata)
      place.map(document['spec'], 'spec')
      if (pods.length >= PODS_AT_MOST)
        throw place.malformed('one pod too many', `at most ${PODS_AT_MOST} pods in the file`)
      pods.push(document)
    } else if (Object.hasOwn(CONTROLLERS, kind)) {
      for (const pod of controllerPods(document, kind, place, PODS_AT_MOST - pods.length)) pods.push(pod)
    } else if (BEFORE_PODS.includes(kind)) {
      place.name(place.map(document['metadata'], 'metadata'))
      objects.push(document)
    } else
      throw place.malformed(kind === '' ? 'kind is missing' : `kind is ${JSON.stringify(kind.slice(0, 64))}`, EXPECTED)
  }
  if (/^\s*[{[]/.test(text)) {
    // JSON would be read as YAML too, but many times slower. What is no JSON after all, YAML complains about with its place.
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      value = undefined
    }
    if (value !== undefined) {
      take(value, new Place(file, 'document 1'))
      return { objects, pods }
    }
  }
  const documents = parseAllDocuments(text)
  for (const [index, document] of (Array.isArray(documents) ? documents : []).entries()) {
    const place = new Place(file, `document ${index + 1}`)
    const [error] = document.errors
    if (error !== undefined) throw place.malformed(error.message.split('\n')[0] ?? '', 'YAML or JSON', error)
    let value: unknown
    try {
      value = document.toJS({ maxAliasCount: ALIASES_AT_MOST })
    } catch (thrown) {
      throw place.malformed(messageOf(thrown), `at most ${ALIASES_AT_MOST} uses of an anchor`, thrown)
    }
    // Nothing between two --- lines is nothing.
    if (value !== null && value !== undefined) take(value, place)
  }
  return { objects, pods }
}

/**
 * Reads a workload file. Pods of Deployments, ReplicaSets, StatefulSets and Jobs are written out as many as `replicas` or
 * `parallelism` say, with the owner references that their controllers would set; the controllers themselves are not
 * created, so nothing replaces a pod that ends.
 * @throws StowageError FILE_UNREADABLE, WORKLOAD_MALFORMED
 */
export const readWorkloadFile = async (path: string): Promise<Workload> => {
  try {
    const { size } = await stat(path)
    if (size > BYTES_AT_MOST) {
      throw new StowageError('WORKLOAD_MALFORMED', {
        found: `${path} has ${size} bytes`,
        expected: `at most ${BYTES_AT_MOST}`,
      })
    }
    return parseWorkload(path, await readFile(path, 'utf8'))
  } catch (thrown) {
    if (thrown instanceof StowageError) throw thrown
    throw new StowageError(
      'FILE_UNREADABLE',
      { found: `${path} (${messageOf(thrown)})`, expected: 'a file of pods in YAML or JSON' },
      { cause: thrown },
    )
  }
}

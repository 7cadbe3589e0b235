import type { SelectingKind } from '../cluster/default-selectors.ts'
import type { ObjectFeed } from '../cluster/feed.ts'
import type { KubeObject, SelectingObject } from '../cluster/objects.ts'
import type { ClusterState } from '../cluster/state.ts'

/** What selects pods, and so says which belong together where they do not say so themselves. */
export interface SelectorFeeds {
  readonly services: ObjectFeed<SelectingObject>
  readonly replicaSets: ObjectFeed<SelectingObject>
  readonly statefulSets: ObjectFeed<SelectingObject>
  readonly replicationControllers: ObjectFeed<SelectingObject>
}

/** How many of those there are, each of which syncs. */
export const SELECTOR_FEEDS = 4

export interface TopologyListener {
  /** something that rules read is another; no waiting pod is woken by it */
  changed(): void
  unreadable(kind: string, object: KubeObject, thrown: unknown): void
  /** one of the feeds has synced for the first time */
  synced(): void
}

const once = (tell: () => void): (() => void) => {
  let told = false
  return () => {
    if (told) return
    told = true
    tell()
  }
}

/** Writes the labels of namespaces into the state. */
export const namespaceFeed = (state: ClusterState, listener: TopologyListener): ObjectFeed<KubeObject> => ({
  seen: (object) => {
    state.applyNamespace(object)
    listener.changed()
  },
  gone: (_, name) => {
    state.removeNamespace(name)
    listener.changed()
  },
  synced: once(() => listener.synced()),
})

/** Write into the state what Services and controllers select. Only scores look at that. */
export const selectorFeeds = ({ defaultSelectors }: ClusterState, listener: TopologyListener): SelectorFeeds => {
  const feed = (kind: SelectingKind): ObjectFeed<SelectingObject> => ({
    seen: (object) => {
      try {
        defaultSelectors.apply(kind, object)
      } catch (thrown) {
        // What it was before it broke is true no more.
        const { namespace = '', name = '' } = object.metadata ?? {}
        defaultSelectors.remove(kind, namespace, name)
        listener.unreadable(kind, object, thrown)
      }
    },
    gone: (namespace, name) => defaultSelectors.remove(kind, namespace, name),
    synced: once(() => listener.synced()),
  })
  return {
    services: feed('Service'),
    replicaSets: feed('ReplicaSet'),
    statefulSets: feed('StatefulSet'),
    replicationControllers: feed('ReplicationController'),
  }
}

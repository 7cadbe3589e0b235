import type { KubeObject } from './objects.ts'

/**
 * Who wants to be told about objects of one kind. Whoever reads a cluster - the list/watch of a live one, a simulation -
 * calls it in order; an object seen again with the resourceVersion it had is no change. Never throws: an object that
 * cannot be read is the receiver's to count and to report.
 */
export interface ObjectFeed<T extends KubeObject> {
  /** new or changed; the object may be kept only in parts, never whole */
  seen(object: T): void
  gone(namespace: string, name: string, uid: string): void
  /** everything that exists has been seen once; called again after each relist */
  synced(): void
}

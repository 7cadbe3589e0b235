import { FreeShare } from './free-share.ts'
import type { Policy } from './policy.ts'

/**
 * The node with the lowest load, as the mean of cpu and memory. Pod slots decide only between nodes of about equal load, so
 * that pods that ask for nothing spread too. Looks at measured load.
 */
export const createLeastLoaded = (): Policy =>
  new FreeShare('least_loaded', { cpuFree: 0.5, memoryFree: 0.5, podSlotsFree: 0.001 })

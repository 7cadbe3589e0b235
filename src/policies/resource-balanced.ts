import { FreeShare } from './free-share.ts'
import type { Policy } from './policy.ts'

/** The node of which most is free: 0.35 of its cpu, 0.35 of its memory, 0.30 of its pod slots. Looks at measured load. */
export const createResourceBalanced = (): Policy =>
  new FreeShare('resource_balanced', { cpuFree: 0.35, memoryFree: 0.35, podSlotsFree: 0.3 })

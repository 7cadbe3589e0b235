import type { SimulationResult } from './result.ts'
import type { SimulatedCluster } from './options.ts'

/** One run of the real scheduler in simulated time. */
export interface SimulationRun extends SimulatedCluster {
  /** To the end. @throws the reason of `signal` */
  run(): Promise<SimulationResult>
}

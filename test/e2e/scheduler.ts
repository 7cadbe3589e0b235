import { tmpdir } from 'node:os'
import { systemClock } from '../../src/clock/clock.ts'
import { loadConfiguration } from '../../src/configuration/load.ts'
import type { DecisionRecord } from '../../src/decisions/record.ts'
import { policyNames } from '../../src/policies/registry.ts'
import type { Conservation } from '../../src/scheduling/ports.ts'
import { SchedulingSystem } from '../../src/system/scheduling-system.ts'
import { createLog } from '../../src/telemetry/log.ts'

export interface SchedulerOptions {
  /** schedulerName=policy @default stowage=kube-default */
  readonly profiles?: readonly string[]
  /** replicas that share a lease, with times short enough for a test @default false */
  readonly leaderElection?: boolean
  /** the file of its decisions @default in memory */
  readonly decisions?: string
  /** told of each decision before its bind is sent */
  readonly onDecision?: (record: DecisionRecord, scheduler: RunningScheduler) => void
  /** Do not wait until it is ready. @default false */
  readonly unready?: boolean
}

export interface RunningScheduler {
  readonly system: SchedulingSystem
  /** Drains and ends, as SIGTERM does. */
  stop(): Promise<void>
  /** From now on it reaches nothing any more, as if its process had been killed or its network were gone. */
  crash(): void
}

/** Starts a scheduler as `stowage schedule --kubeconfig FILE` does, in this process. */
export const startScheduler = async (
  kubeconfigPath: string,
  options: SchedulerOptions = {},
): Promise<RunningScheduler> => {
  const leaseTimes = { leaseDuration: '1500ms', renewDeadline: '1s', retryPeriod: '100ms' }
  const loaded = loadConfiguration({
    flags: {
      kubeconfig: kubeconfigPath,
      profile: [...(options.profiles ?? ['stowage=kube-default'])],
      decisions: options.decisions ?? ':memory:',
      leaderElect: String(options.leaderElection ?? false),
      ...(options.leaderElection ? leaseTimes : {}),
    },
    env: {},
    cwd: tmpdir(),
    policies: policyNames,
  })
  const system = new SchedulingSystem({
    loaded,
    env: {},
    clock: systemClock,
    log: createLog({ level: 'WARNING', format: 'text', clock: systemClock }),
    version: '0.0.0-test',
    onDecision: (record) => options.onDecision?.(record, running),
  })
  const running: RunningScheduler = {
    system,
    stop: () => system.stop(),
    crash: () => system.connection.close(),
  }
  const patience = AbortSignal.timeout(30_000)
  await system.start(patience)
  if (!options.unready) await system.ready(patience)
  return running
}

/** Every pod is somewhere, and only there (invariant 3). @returns what does not add up */
export const unaccounted = (system: SchedulingSystem): number => {
  const { seen, bound, waiting, gated, deleted, inFlight }: Conservation = system.scheduler.conservation()
  return seen - bound - waiting - gated - deleted - inFlight
}

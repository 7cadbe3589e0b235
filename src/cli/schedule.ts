import { Command } from 'commander'
import { systemClock } from '../clock/clock.ts'
import { startServers } from '../servers/start.ts'
import { announceInstance } from '../system/instances.ts'
import { SchedulingSystem } from '../system/scheduling-system.ts'
import { createLog } from '../telemetry/log.ts'
import { addSettings, readSettings } from './settings.ts'
import { untilSignalled } from './signals.ts'
import { version } from './version.ts'

const schedule = async (options: Record<string, unknown>): Promise<void> => {
  const loaded = readSettings(options)
  const { api, logging, metrics } = loaded.configuration
  const log = createLog({ ...logging, clock: systemClock })
  for (const warning of loaded.warnings) log.warn(warning)
  // First, as it may throw: whoever listens for signals is kept alive until `release`.
  const system = new SchedulingSystem({ loaded, env: process.env, clock: systemClock, log, version })
  const stop = untilSignalled(systemClock)
  try {
    const servers = await startServers({
      view: system,
      metrics: metrics.enabled ? system.metrics : undefined,
      host: api.host,
      apiPort: api.port,
      metricsPort: metrics.port,
      log,
    })
    const withdraw = announceInstance(
      { pid: process.pid, apiUrl: servers.apiUrl, startedAtMs: systemClock.nowMs() },
      process.env,
    )
    try {
      await system.start(stop.signal)
      await system.ready(stop.signal)
      const names = loaded.configuration.profiles.map(({ schedulerName, policy }) => `${schedulerName} (${policy})`)
      process.stdout.write(
        `stowage is ready: ${system.leads ? 'schedules' : 'stands by to schedule'} pods of ${names.join(', ')} on ${system.connection.address}; ` +
          `API ${servers.apiUrl}${servers.metricsUrl === undefined ? '' : `, metrics ${servers.metricsUrl}`}\n`,
      )
      await stop.requested
    } catch (error) {
      // Told to stop while it was starting: that is no failure.
      if (!stop.signal.aborted) throw error
    } finally {
      await system.stop()
      withdraw()
      await servers.close()
    }
  } finally {
    await system.stop()
    stop.release()
  }
}

/** `stowage schedule` */
export const scheduleCommand = (): Command =>
  addSettings(
    new Command('schedule').description(
      'Schedules the pods of a cluster that name one of our profiles, until it is stopped. Prints one line when it is ready; SIGTERM or Ctrl-C drains and ends with 0.',
    ),
    () => true,
  )
    .addHelpText(
      'after',
      `
Examples:
  stowage schedule --kubeconfig ~/.kube/config
  stowage schedule --profile default-scheduler=kube-default --profile batch=most_allocated
  stowage schedule --config configs/stowage.yaml --api-port 0 --metrics-port 0`,
    )
    .action(schedule)

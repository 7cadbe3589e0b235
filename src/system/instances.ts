import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** A Stowage that runs on this machine for this user. */
export interface Instance {
  readonly pid: number
  /** of the management API */
  readonly apiUrl: string
  readonly startedAtMs: number
}

/** Where this user's Stowage keeps what outlives a process (XDG base directory specification). */
export const stateFolder = (env: Readonly<Record<string, string | undefined>>): string =>
  join(env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'stowage')

const instancesFolder = (env: Readonly<Record<string, string | undefined>>): string =>
  join(stateFolder(env), 'instances')

/**
 * Notes that this process serves the management API at a URL, so that `stowage explain` finds it without being told.
 * @returns how to take the note back; a folder that cannot be written is no reason not to run: then nothing is noted
 */
export const announceInstance = (
  instance: Instance,
  env: Readonly<Record<string, string | undefined>>,
): (() => void) => {
  const path = join(instancesFolder(env), `${instance.pid}.json`)
  try {
    mkdirSync(instancesFolder(env), { recursive: true, mode: 0o700 })
    writeFileSync(path, JSON.stringify(instance), { mode: 0o600 })
  } catch {
    return () => {}
  }
  return () => rmSync(path, { force: true })
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The instances that run, the youngest first. Notes of processes that died are removed. */
export const runningInstances = (env: Readonly<Record<string, string | undefined>>): Instance[] => {
  const folder = instancesFolder(env)
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => /^\d+\.json$/.test(name))
  } catch {
    return []
  }
  const instances: Instance[] = []
  for (const name of names)
    try {
      const instance = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Instance
      if (isAlive(instance.pid)) instances.push(instance)
      else rmSync(join(folder, name), { force: true })
    } catch {
      // Half written or somebody else's: not an instance of ours.
    }
  return instances.sort((a, b) => b.startedAtMs - a.startedAtMs)
}

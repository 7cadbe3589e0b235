// Runs on any Node from 20: makes sure that what package-lock.json names is installed, and finds a Node new enough for the
// rest of Stowage. The only file (with its two callers) that must not use anything newer than Node 20.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
const neededNode = [24, 19]

const newEnough = (version) => {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number)
  return major > neededNode[0] || (major === neededNode[0] && minor >= neededNode[1])
}

/** Ends the program with a message that says what was found, what was expected and what to do. */
const stop = (message) => {
  process.stderr.write(`stowage: ${message}\n`)
  process.exit(1)
}

/** Whether node_modules holds every package of the lockfile in the version it names (optional ones may be absent). */
const installed = () => {
  const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).packages
  if (!existsSync(join(root, 'node_modules/.package-lock.json'))) return false
  const have = read('node_modules/.package-lock.json')
  return Object.entries(read('package-lock.json')).every(
    ([path, { version, optional }]) => path === '' || have[path]?.version === version || (optional && !have[path]),
  )
}

const install = () => {
  process.stderr.write('stowage: installing what package-lock.json names (once)\n')
  const npm = process.env.npm_execpath
  const args = ['ci', '--loglevel=error', '--no-audit', '--no-fund']
  const options = { cwd: root, stdio: ['ignore', 2, 2] }
  const done = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync('npm', args, options)
  if (done.error) stop(`npm could not be started (${done.error.message}); it comes with Node: https://nodejs.org`)
  if (done.status !== 0)
    stop(
      `npm ci failed with exit code ${done.status} in ${root}; its message stands above. Is the folder writable, and a registry in reach?`,
    )
}

/**
 * @returns the path of a Node >= 24.19: this process's own, or the one that the optional dependencies brought
 */
export const ensure = () => {
  // A copy that npm installed as somebody's dependency has its packages beside it; only a checkout installs its own.
  if (basename(dirname(root)) !== 'node_modules' && !installed()) install()
  if (newEnough(process.version)) return process.execPath
  const brought = join(root, 'node_modules/.bin/node')
  if (existsSync(brought)) {
    const { stdout } = spawnSync(brought, ['--version'], { encoding: 'utf8' })
    if (stdout && newEnough(stdout.trim())) return brought
  }
  return stop(
    `Node >= ${neededNode.join('.')} is needed, and this is ${process.version} (${process.execPath}). A prebuilt one comes with npm for Linux on x64 and arm64, ` +
      `not for ${process.platform} on ${process.arch}, or it was left out (npm config get omit): install Node 24 from https://nodejs.org and run this again.`,
  )
}

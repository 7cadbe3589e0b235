// Runs one of the project's TypeScript files on a Node that can, from the folder in which the user typed the command.
import { spawn } from 'node:child_process'
import module from 'node:module'
import { constants } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ensure, root } from './ensure.mjs'

/** @param {string} file the program, relative to the project @param {string[]} args its arguments */
export const launch = async (file, args) => {
  const node = ensure()
  // `npm start` runs in the project's folder; paths that the user types are relative to where it was typed.
  if (process.env.npm_lifecycle_event && process.env.INIT_CWD) process.chdir(process.env.INIT_CWD)
  const program = join(root, file)
  if (node === process.execPath) {
    // Halves the time to start. Does nothing where the folder cannot be written.
    module.enableCompileCache?.(join(root, 'node_modules/.cache/compile'))
    process.argv = [node, program, ...args]
    await import(pathToFileURL(program).href)
    return
  }
  const env = {
    ...process.env,
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, 'node_modules/.cache/compile'),
  }
  const child = spawn(node, [program, ...args], { stdio: 'inherit', env })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    process.stderr.write(`stowage: ${node} could not be started: ${error.message}\n`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal]
  })
}

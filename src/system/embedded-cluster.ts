import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Clock } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import { type EmbeddedApiServer, startApiServer } from '../simulation/apiserver/server.ts'
import type { NodeShape } from '../simulation/workload/node-shapes.ts'
import { startVirtualNodes, type VirtualNodes } from '../simulation/virtual/virtual-nodes.ts'
import { startVolumeController } from '../simulation/virtual/volume-controller.ts'
import type { Log } from '../telemetry/log.ts'

export interface EmbeddedClusterOptions {
  readonly nodes: readonly NodeShape[]
  /** of the API; 0: a free one */
  readonly port: number
  /** where the kubeconfig goes; undefined: a folder of its own, which goes with the cluster */
  readonly kubeconfig: string | undefined
  readonly clock: Clock
  readonly random: Random
  /** how many times faster than the clock pods live */
  readonly speed: number
  readonly log: Log
}

export interface EmbeddedCluster {
  readonly server: EmbeddedApiServer
  readonly nodes: VirtualNodes
  readonly kubeconfigPath: string
  /** Nodes and server end; the kubeconfig, useless from then on, is removed. */
  stop(): Promise<void>
}

/** By this we know a kubeconfig that is ours to overwrite. */
const CONTEXT = /current-context: "?stowage/

/** Writes a kubeconfig. @returns how to remove it. @throws StowageError FILE_UNWRITABLE */
const writeKubeconfig = (path: string, text: string): (() => void) => {
  try {
    if (existsSync(path) && !CONTEXT.test(readFileSync(path, 'utf8')))
      throw new StowageError('FILE_UNWRITABLE', {
        found: `${path} exists and is no kubeconfig of ours`,
        todo: 'name another file: this one would be lost',
      })
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text, { mode: 0o600 })
  } catch (cause) {
    if (cause instanceof StowageError) throw cause
    throw new StowageError(
      'FILE_UNWRITABLE',
      { found: `${path}: ${messageOf(cause)}`, todo: 'name a file that can be written' },
      { cause },
    )
  }
  return () => rmSync(path, { force: true })
}

/**
 * An API server in this process, with virtual nodes, and somebody who binds claims to volumes.
 * @throws StowageError PORT_IN_USE, FILE_UNWRITABLE; then nothing is left running
 */
export const startEmbeddedCluster = async (options: EmbeddedClusterOptions): Promise<EmbeddedCluster> => {
  const { clock, random, log, speed } = options
  const server = await startApiServer({
    port: options.port,
    clock,
    random: random.fork(),
    log: (message) => log.error(message),
  })
  let nodes: VirtualNodes | undefined
  let stopVolumes = (): void => {}
  let folder: string | undefined
  let removeKubeconfig = (): void => {}
  const stop = async (): Promise<void> => {
    stopVolumes()
    await nodes?.stop()
    await server.stop()
    removeKubeconfig()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
  try {
    if (options.kubeconfig === undefined) folder = mkdtempSync(join(tmpdir(), 'stowage-'))
    const kubeconfigPath = resolve(options.kubeconfig ?? join(folder ?? '', 'kubeconfig'))
    removeKubeconfig = writeKubeconfig(kubeconfigPath, server.kubeconfig())
    nodes = startVirtualNodes({
      objects: server.objects,
      clock,
      random: random.fork(),
      speed,
      log: (message) => log.warn(message),
      reportUsage: (name, cpuMilli, memoryBytes) => server.setNodeUsage(name, { cpuMilli, memoryBytes }),
    })
    stopVolumes = startVolumeController({ objects: server.objects, clock, log: (message) => log.warn(message) })
    nodes.addNodes(options.nodes)
    return { server, nodes, kubeconfigPath, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

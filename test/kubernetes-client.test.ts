import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/clock/clock.ts'
import { describeClientContract } from '../src/kubernetes/contract.ts'
import { startApiServer } from '../src/simulation/apiserver/server.ts'
import { realControlPlane } from './real-control-plane.ts'

describeClientContract('the embedded API server', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stowage-client-'))
  const server = await startApiServer({ clock: systemClock })
  const kubeconfig = join(folder, 'kubeconfig')
  await writeFile(kubeconfig, server.kubeconfig())
  const stop = async (): Promise<void> => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
  return { kubeconfig, stop, kill: () => server.stop(), restart: () => server.restart() }
})

describeClientContract(
  'a real kube-apiserver',
  async () => {
    const plane = await realControlPlane.start()
    return {
      kubeconfig: plane.kubeconfigPath,
      stop: plane.stop,
      kill: plane.killApiServer,
      restart: plane.restartApiServer,
    }
  },
  realControlPlane.skip,
)

import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../clock/clock.ts'
import { type ControlPlane, realControlPlane } from '../../../test/real-control-plane.ts'
import { ContractClient, type ContractTarget, contract } from './contract.ts'
import { definitionsContract } from './custom/contract.ts'
import { startApiServer } from './server.ts'

/** Runs every case in a namespace of its own. */
const hold = (start: () => Promise<{ target: ContractTarget; stop: () => Promise<void> }>): void => {
  let client: ContractClient
  let stop: () => Promise<void> = () => Promise.resolve()
  before(async () => {
    const started = await start()
    stop = started.stop
    client = new ContractClient(started.target)
  })
  after(async () => {
    await client.close()
    await stop()
  })
  for (const [number, held] of [...contract, ...definitionsContract].entries())
    test(held.title, { timeout: 60_000 }, async () => {
      const namespace = `case-${number}`
      await client.post('/api/v1/namespaces', { metadata: { name: namespace } })
      await held.run(client, namespace)
    })
}

describe('the embedded API server over TLS', () => {
  hold(async () => {
    const server = await startApiServer({ clock: systemClock })
    return { target: { url: server.url, token: server.token, ca: server.caPem }, stop: () => server.stop() }
  })
})

describe('the embedded API server over plain HTTP', () => {
  hold(async () => {
    const server = await startApiServer({ clock: systemClock, tls: false })
    return { target: { url: server.url, token: server.token, ca: '' }, stop: () => server.stop() }
  })
})

describe('a real kube-apiserver', { skip: realControlPlane.skip }, () => {
  hold(async () => {
    const plane: ControlPlane = await realControlPlane.start()
    return { target: { url: plane.url, token: plane.token, ca: plane.ca }, stop: plane.stop }
  })
})

import { type Connection, openConnection } from './connection.ts'
import {
  base64,
  type Certificates,
  makeCertificates,
  ScriptedServer,
  withFolder,
  writeKubeconfig,
} from './scripted-server.fixture.ts'

let made: Promise<Certificates> | undefined
/** One authority for all tests of a file: making it takes a while. */
export const certificates = (): Promise<Certificates> => (made ??= makeCertificates())

/**
 * Runs a test with a scripted server and a connection to it; both are gone afterwards.
 * @param over plain HTTP/1.1 unless it says HTTP/2, which takes TLS
 */
export const withServer = (
  run: (server: ScriptedServer, connection: Connection) => Promise<void>,
  over: 'HTTP/1.1' | 'HTTP/2' = 'HTTP/1.1',
): Promise<void> =>
  withFolder(async (folder) => {
    const secure = over === 'HTTP/2' ? { certificates: await certificates() } : {}
    const server = await ScriptedServer.listen(secure)
    const trust = secure.certificates && { 'certificate-authority-data': base64(secure.certificates.ca.cert) }
    const kubeconfig = await writeKubeconfig(folder, { server: server.address, ...trust })
    const connection = openConnection({ kubeconfig, env: {} })
    try {
      await run(server, connection)
    } finally {
      connection.close()
      await server.kill()
    }
  })

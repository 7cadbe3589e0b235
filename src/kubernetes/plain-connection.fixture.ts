import { type Connection, openConnection } from './connection.ts'
import { ScriptedServer, withFolder, writeKubeconfig } from './scripted-server.fixture.ts'

/** Runs a test with a scripted server over plain HTTP and a connection to it; both are gone afterwards. */
export const withServer = (run: (server: ScriptedServer, connection: Connection) => Promise<void>): Promise<void> =>
  withFolder(async (folder) => {
    const server = await ScriptedServer.listen()
    const kubeconfig = await writeKubeconfig(folder, { server: server.address })
    const connection = openConnection({ kubeconfig, env: {} })
    try {
      await run(server, connection)
    } finally {
      connection.close()
      await server.kill()
    }
  })

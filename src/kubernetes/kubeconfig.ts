import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, isAbsolute, join, sep } from 'node:path'
import { isIP, isIPv6 } from 'node:net'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import type { Clock } from '../clock/clock.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'

/** Where the kubelet puts the account of a pod. */
export const SERVICE_ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount'

/** A plugin that has not answered by then is given up: it may wait for a person, and there is none. */
const EXEC_TIMEOUT_MS = 60_000
/** Credentials are taken as expired this long before they are, so that none expires on its way. */
const EXPIRY_MARGIN_MS = 10_000

/** What proves who we are, as read at one moment. */
export interface Credentials {
  readonly tls: {
    readonly ca?: string | Buffer
    readonly cert?: string | Buffer
    readonly key?: string | Buffer
    readonly servername?: string
    readonly rejectUnauthorized: boolean
  }
  readonly headers: Readonly<Record<string, string | string[]>>
}

export interface KubeconfigSource {
  /** One file, or a list as in $KUBECONFIG. Without it: the files in $KUBECONFIG, then ~/.kube/config, then the account of the pod we run in. */
  readonly kubeconfig?: string | undefined
  /** @default the current one of the files */
  readonly context?: string | undefined
  /** Only the account of the pod we run in. @default false */
  readonly inCluster?: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  /** @default SERVICE_ACCOUNT_DIRECTORY */
  readonly serviceAccountDirectory?: string
}

const execSchema = z.object({
  apiVersion: z.string().optional(),
  command: z.string().min(1),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string(), value: z.string() })).nullish(),
  provideClusterInfo: z.boolean().nullish(),
})
const clusterSchema = z.object({
  server: z.string(),
  'certificate-authority': z.string().nullish(),
  'certificate-authority-data': z.string().nullish(),
  'insecure-skip-tls-verify': z.boolean().nullish(),
  'tls-server-name': z.string().nullish(),
  'proxy-url': z.string().nullish(),
})
const userSchema = z.object({
  'client-certificate': z.string().nullish(),
  'client-certificate-data': z.string().nullish(),
  'client-key': z.string().nullish(),
  'client-key-data': z.string().nullish(),
  token: z.string().nullish(),
  tokenFile: z.string().nullish(),
  username: z.string().nullish(),
  password: z.string().nullish(),
  as: z.string().nullish(),
  'as-groups': z.array(z.string()).nullish(),
  exec: execSchema.nullish(),
  'auth-provider': z.object({ name: z.string(), config: z.record(z.string(), z.string()).nullish() }).nullish(),
})
const contextSchema = z.object({
  cluster: z.string(),
  user: z.string().nullish(),
  namespace: z.string().nullish(),
})
const fileSchema = z.object({
  'current-context': z.string().nullish(),
  clusters: z.array(z.object({ name: z.string(), cluster: clusterSchema })).nullish(),
  users: z.array(z.object({ name: z.string(), user: userSchema.nullish() })).nullish(),
  contexts: z.array(z.object({ name: z.string(), context: contextSchema })).nullish(),
})
const execCredentialSchema = z.object({
  status: z.object({
    token: z.string().optional(),
    clientCertificateData: z.string().optional(),
    clientKeyData: z.string().optional(),
    expirationTimestamp: z.string().optional(),
  }),
})

type Cluster = z.infer<typeof clusterSchema>
type User = z.infer<typeof userSchema>
interface Chosen {
  /** for messages: the file, or that it is the pod's account */
  readonly from: string
  readonly cluster: Cluster
  readonly user: User
  readonly namespace: string
}

const unreadable = (found: string, todo?: string, cause?: unknown): StowageError =>
  new StowageError('KUBECONFIG_UNREADABLE', todo === undefined ? { found } : { found, todo }, { cause })

const readText = (file: string, what: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw unreadable(`${what} ${file}: ${messageOf(error)}`, 'correct the path or its permissions', error)
  }
}

const absolute = (directory: string, file: string): string => (isAbsolute(file) ? file : join(directory, file))

/** Reads one file; paths in it are relative to its folder. */
const readFile = (file: string): z.infer<typeof fileSchema> => {
  let parsed: unknown
  try {
    parsed = parseYaml(readText(file, 'kubeconfig')) ?? {}
  } catch (error) {
    if (error instanceof StowageError) throw error
    throw unreadable(`${file} is no YAML: ${messageOf(error).split('\n')[0]}`, undefined, error)
  }
  const checked = fileSchema.safeParse(parsed)
  if (!checked.success) {
    const issue = checked.error.issues[0]
    throw unreadable(`${file}, key ${issue?.path.join('.') || '(top)'}: ${issue?.message}`)
  }
  const directory = dirname(file)
  for (const { cluster } of checked.data.clusters ?? []) {
    if (cluster['certificate-authority']) {
      cluster['certificate-authority'] = absolute(directory, cluster['certificate-authority'])
    }
  }
  for (const { user } of checked.data.users ?? []) {
    if (!user) continue
    for (const key of ['client-certificate', 'client-key', 'tokenFile'] as const) {
      if (user[key]) user[key] = absolute(directory, user[key])
    }
    // As kubectl: a command with a path in it is relative to the file, a bare name is looked up in $PATH.
    if (user.exec?.command.includes(sep)) user.exec.command = absolute(directory, user.exec.command)
  }
  return checked.data
}

const chooseFromFiles = (files: readonly string[], wanted: string | undefined): Chosen => {
  const from = files.join(delimiter)
  const read = files.map(readFile)
  const contextName = wanted ?? read.map((file) => file['current-context']).find(Boolean)
  if (!contextName) throw unreadable(`${from} has no current-context`, 'choose one with kubectl config use-context')
  const context = read.flatMap((file) => file.contexts ?? []).find(({ name }) => name === contextName)?.context
  if (!context) {
    const why = wanted === undefined ? 'which is its current-context' : 'which was asked for'
    throw unreadable(`${from} has no context "${contextName}", ${why}`)
  }
  const cluster = read.flatMap((file) => file.clusters ?? []).find(({ name }) => name === context.cluster)?.cluster
  if (!cluster) throw unreadable(`${from} has no cluster "${context.cluster}", which context "${contextName}" names`)
  const user = read.flatMap((file) => file.users ?? []).find(({ name }) => name === context.user)
  if (context.user && !user)
    throw unreadable(`${from} has no user "${context.user}", which context "${contextName}" names`)
  return { from, cluster, user: user?.user ?? {}, namespace: context.namespace ?? 'default' }
}

const chooseInCluster = (source: KubeconfigSource): Chosen => {
  const directory = source.serviceAccountDirectory ?? SERVICE_ACCOUNT_DIRECTORY
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = source.env
  if (!host || !port) {
    throw unreadable(
      'KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not set, so this is no pod',
      'name a kubeconfig with --kubeconfig or KUBECONFIG',
    )
  }
  const namespaceFile = join(directory, 'namespace')
  return {
    from: `the service account in ${directory}`,
    cluster: {
      server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
      'certificate-authority': join(directory, 'ca.crt'),
    },
    user: { tokenFile: join(directory, 'token') },
    namespace: existsSync(namespaceFile) ? readText(namespaceFile, 'namespace file').trim() : 'default',
  }
}

const choose = (source: KubeconfigSource): Chosen => {
  if (source.inCluster) return chooseInCluster(source)
  const listed = (source.kubeconfig ?? source.env['KUBECONFIG'])?.split(delimiter).filter(Boolean) ?? []
  if (listed.length > 0) {
    // As kubectl: files of the list that do not exist are left out.
    const existing = listed.filter((file) => existsSync(file))
    return chooseFromFiles(existing.length > 0 ? existing : listed, source.context)
  }
  const standard = join(source.env['HOME'] ?? homedir(), '.kube', 'config')
  if (existsSync(standard)) return chooseFromFiles([standard], source.context)
  if (source.env['KUBERNETES_SERVICE_HOST']) return chooseInCluster(source)
  throw unreadable(
    `neither KUBECONFIG nor ${standard} names a cluster, and this is no pod`,
    'name a kubeconfig with --kubeconfig or KUBECONFIG',
  )
}

const runPlugin = (command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { env, timeout: EXEC_TIMEOUT_MS, maxBuffer: 1 << 20, windowsHide: true },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout)
        else {
          const said = stderr.trim().slice(0, 500)
          const what = error.killed ? `no answer within ${EXEC_TIMEOUT_MS / 1000} s` : said || error.message
          reject(unreadable(`exec plugin "${command}" failed: ${what}`, 'run it by hand to see why', error))
        }
      },
    )
    // Nobody is there to type anything.
    child.stdin?.end()
  })

/**
 * The way into one cluster: its address, and credentials that are read anew from their files as those change.
 * Read with `yaml` and checked here; only the legacy `auth-provider` users load `@kubernetes/client-node`, which takes
 * 85 MB of memory.
 */
export class ClusterAccess {
  /** what the configuration came from, for messages */
  readonly from: string
  readonly server: URL
  /** of the context, `default` where it names none */
  readonly namespace: string
  readonly #source: KubeconfigSource
  readonly #clock: Clock
  #plugin:
    | { readonly credentials: z.infer<typeof execCredentialSchema>['status']; readonly untilMs: number }
    | undefined

  /** @throws StowageError KUBECONFIG_UNREADABLE */
  constructor(source: KubeconfigSource, clock: Clock) {
    const chosen = choose(source)
    this.from = chosen.from
    this.#source = source
    this.#clock = clock
    this.namespace = chosen.namespace
    const url = URL.parse(chosen.cluster.server)
    if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
      throw unreadable(`${chosen.from}: server "${chosen.cluster.server}" is no http or https address`)
    }
    if (chosen.cluster['proxy-url']) {
      throw unreadable(`${chosen.from}: proxy-url is not supported`, 'connect without a proxy, or by kubectl proxy')
    }
    this.server = url
  }

  /**
   * Reads everything again: tokens, certificates and the file itself may have been renewed.
   * @param refused the server no longer takes what it was shown, so a plugin is asked again even if its answer has not expired
   * @throws StowageError KUBECONFIG_UNREADABLE
   */
  async credentials(refused: boolean): Promise<Credentials> {
    const { cluster, user, from } = choose(this.#source)
    const material = (what: string, data: string | null | undefined, file: string | null | undefined) =>
      data ? Buffer.from(data, 'base64') : file ? readText(file, what) : undefined
    const ca = material(
      'certificate authority',
      cluster['certificate-authority-data'],
      cluster['certificate-authority'],
    )
    let cert: string | Buffer | undefined = material(
      'client certificate',
      user['client-certificate-data'],
      user['client-certificate'],
    )
    let key: string | Buffer | undefined = material('client key', user['client-key-data'], user['client-key'])
    const headers: Record<string, string | string[]> = {}
    let token = user.tokenFile ? readText(user.tokenFile, 'token file').trim() : user.token
    if (user.exec) {
      const answer = await this.#askPlugin(user.exec, cluster, refused)
      token = answer.token
      cert = answer.clientCertificateData ?? cert
      key = answer.clientKeyData ?? key
    }
    if (token) headers['authorization'] = `Bearer ${token}`
    else if (user.username) {
      headers['authorization'] = `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}`
    } else if (user['auth-provider']) Object.assign(headers, await legacyHeaders(user, from))
    if (user.as) headers['impersonate-user'] = user.as
    if (user['as-groups']?.length) headers['impersonate-group'] = user['as-groups']
    const serverName = cluster['tls-server-name'] ?? this.server.hostname
    return {
      tls: {
        rejectUnauthorized: cluster['insecure-skip-tls-verify'] !== true,
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
        // An address is no server name (RFC 6066); certificates are checked against it all the same.
        ...(isIP(serverName.replace(/^\[|\]$/g, '')) ? {} : { servername: serverName }),
      },
      headers,
    }
  }

  async #askPlugin(exec: z.infer<typeof execSchema>, cluster: Cluster, refused: boolean) {
    if (!refused && this.#plugin && this.#clock.nowMs() < this.#plugin.untilMs) return this.#plugin.credentials
    const env: NodeJS.ProcessEnv = { ...this.#source.env }
    for (const { name, value } of exec.env ?? []) env[name] = value
    const info = {
      apiVersion: exec.apiVersion ?? 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      spec: {
        interactive: false,
        ...(exec.provideClusterInfo
          ? {
              cluster: {
                server: cluster.server,
                'tls-server-name': cluster['tls-server-name'] ?? undefined,
                'insecure-skip-tls-verify': cluster['insecure-skip-tls-verify'] ?? undefined,
                'certificate-authority-data':
                  cluster['certificate-authority-data'] ??
                  (cluster['certificate-authority']
                    ? Buffer.from(readText(cluster['certificate-authority'], 'certificate authority')).toString(
                        'base64',
                      )
                    : undefined),
              },
            }
          : {}),
      },
    }
    env['KUBERNETES_EXEC_INFO'] = JSON.stringify(info)
    const text = await runPlugin(exec.command, exec.args ?? [], env)
    let answer: z.infer<typeof execCredentialSchema>
    try {
      answer = execCredentialSchema.parse(JSON.parse(text))
    } catch (error) {
      throw unreadable(`exec plugin "${exec.command}" did not answer with an ExecCredential`, 'run it by hand', error)
    }
    const expiry = answer.status.expirationTimestamp
    const untilMs = expiry === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiry) - EXPIRY_MARGIN_MS
    this.#plugin = { credentials: answer.status, untilMs }
    return answer.status
  }
}

/** OpenID Connect and the providers that kubectl has dropped since 1.26: the library knows them. */
const legacyHeaders = async (user: User, from: string): Promise<Record<string, string>> => {
  const { KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  const provider = user['auth-provider']
  config.loadFromClusterAndUser(
    // The address plays no part in it; http with a check of certificates is refused by the library.
    { name: 'cluster', server: 'https://localhost', skipTLSVerify: false },
    { name: 'user', authProvider: { name: provider?.name, config: provider?.config ?? {} } },
  )
  const options: { headers: Record<string, string> } = { headers: {} }
  try {
    await config.applyToHTTPSOptions(options)
  } catch (error) {
    throw unreadable(`${from}: auth-provider "${provider?.name}" failed: ${messageOf(error)}`, undefined, error)
  }
  const authorization = options.headers['Authorization']
  return authorization === undefined ? {} : { authorization }
}

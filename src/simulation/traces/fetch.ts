import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import { llmRequests } from './llm-requests.ts'
import { OPENB_NODE_LIST, openbNodeRows, openbPodListFile, openbPodRows } from './openb.ts'

/** A file of a public trace. */
interface PublicFile {
  readonly name: string
  /** undefined: nobody of us has had it; its rows are read to see that it is one */
  readonly sha256: string | undefined
  /** @throws StowageError TRACE_MALFORMED */
  readonly check: (file: string, text: string) => unknown
}

interface PublicTrace {
  /** the folder under which the files lie */
  readonly address: string
  readonly about: string
  readonly files: readonly PublicFile[]
}

/** The public traces that can be had, where their authors publish them. The hashes are of the files that Stowage is tested with. */
export const PUBLIC_TRACES: Readonly<Record<'openb' | 'azure', PublicTrace>> = {
  openb: {
    address: 'https://raw.githubusercontent.com/alibaba/clusterdata/master/cluster-trace-gpu-v2023/csv',
    about: "Alibaba's GPU trace of 2023: https://github.com/alibaba/clusterdata/tree/master/cluster-trace-gpu-v2023",
    files: [
      {
        name: OPENB_NODE_LIST,
        sha256: '2beca64b4d3dfa342036a34b56a495c6cef9225db836c81f541282cb1df320b5',
        check: openbNodeRows,
      },
      {
        name: 'openb_node_list_all_node.csv',
        sha256: '5a85c2af79c66a1efff8bbcbda430400aae56d8431370d738480967e1a9c6b15',
        check: openbNodeRows,
      },
      {
        name: 'openb_pod_list_default.csv',
        sha256: '1ee7ed79c27a3b0861cda8ddba86a004c6aba904caafa329a76ae93ca63834a8',
        check: openbPodRows,
      },
      {
        name: 'openb_pod_list_cpu250.csv',
        sha256: '134c21ff96d57533df8a37b67632972884fec9396e77cd0898ddc370cc8e607d',
        check: openbPodRows,
      },
      {
        name: 'openb_pod_list_gpushare100.csv',
        sha256: '12dbc07d6a49bf8641e2275a2ff5bf7be74b5df7d148d531e135b140b95f9a3d',
        check: openbPodRows,
      },
    ],
  },
  azure: {
    address: 'https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data',
    about: 'Azure LLM inference trace of 2023, CC-BY-4.0: https://github.com/Azure/AzurePublicDataset',
    files: [
      {
        name: 'AzureLLMInferenceTrace_code.csv',
        sha256: '54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6',
        check: llmRequests,
      },
      {
        name: 'AzureLLMInferenceTrace_conv.csv',
        sha256: '2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8',
        check: llmRequests,
      },
    ],
  },
}

export interface FetchOptions {
  readonly trace: keyof typeof PUBLIC_TRACES
  /** the folder to put them into; made if it is not there */
  readonly directory: string
  /** where else they lie: a mirror. @default the authors' address */
  readonly from?: string
  /** further openb pod lists by their short names (`multigpu20`, `gpuspec33`, ...). @default none */
  readonly lists?: readonly string[]
  readonly signal: AbortSignal
  /** told of each file once it is there */
  readonly onFile: (file: FetchedFile) => void
}

export interface FetchedFile {
  readonly name: string
  readonly bytes: number
  /** it is the very file that Stowage is tested with; false: no hash of it is known, but it can be read */
  readonly verified: boolean
  /** it was there already, as it should be */
  readonly kept: boolean
}

const BYTES_AT_MOST = 64 * 2 ** 20
/** for one file */
const PATIENCE_MS = 120_000

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const download = async (url: string, signal: AbortSignal): Promise<Uint8Array> => {
  const unreachable = (found: string, cause?: unknown): StowageError =>
    new StowageError(
      'DOWNLOAD_FAILED',
      {
        found: `${url}: ${found}`,
        todo: 'check that this machine reaches it; behind a proxy or without internet, name a mirror with --from URL, or put the files into the folder by hand',
      },
      cause === undefined ? undefined : { cause },
    )
  try {
    const answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) })
    if (!answer.ok || answer.body === null)
      throw unreachable(`was answered ${answer.status} ${answer.statusText}`.trim())
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of answer.body) {
      bytes += chunk.length
      if (bytes > BYTES_AT_MOST) throw unreachable(`is larger than ${BYTES_AT_MOST} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, bytes)
  } catch (thrown) {
    if (signal.aborted) throw signal.reason
    if (thrown instanceof StowageError) throw thrown
    // fetch says only "fetch failed"; its cause says why
    const { cause } = thrown as { cause?: unknown }
    throw unreachable(messageOf(cause ?? thrown), thrown)
  }
}

const verify = (url: string, { check, name, sha256 }: PublicFile, bytes: Uint8Array): void => {
  if (sha256 === undefined) {
    check(name, Buffer.from(bytes).toString())
    return
  }
  const found = sha256Of(bytes)
  if (found !== sha256)
    throw new StowageError('TRACE_MALFORMED', {
      found: `${url} has the SHA-256 ${found}`,
      expected: sha256,
      todo: 'it was changed or cut off on its way, or its authors have published another: nothing was written',
    })
}

/**
 * Gets the files of a public trace. What is there already, as it should be, is kept; a file appears whole or not at all.
 * @throws StowageError DOWNLOAD_FAILED, TRACE_MALFORMED, FILE_UNWRITABLE, BAD_REQUEST; the signal's reason
 */
export const fetchTrace = async (options: FetchOptions): Promise<void> => {
  const { directory, lists = [], onFile, signal, trace } = options
  const { address, files } = PUBLIC_TRACES[trace]
  const known = new Set(files.map(({ name }) => name))
  const further = lists
    .map(openbPodListFile)
    .map((name) => {
      if (/^[\w-][\w.-]*$/.test(name)) return name
      throw new StowageError('BAD_REQUEST', {
        found: `the pod list ${JSON.stringify(name.slice(0, 64))}`,
        expected: 'a short name, such as multigpu20',
      })
    })
    .filter((name) => !known.has(name))
    .map((name): PublicFile => ({ name, sha256: undefined, check: openbPodRows }))
  const from = (options.from ?? address).replace(/\/$/, '')
  for (const file of [...files, ...further]) {
    const { name, sha256 } = file
    const path = join(directory, name)
    const there = await readFile(path).catch(() => undefined)
    if (there !== undefined && sha256 !== undefined && sha256Of(there) === sha256) {
      onFile({ name, bytes: there.length, verified: true, kept: true })
      continue
    }
    const url = `${from}/${encodeURIComponent(name)}`
    const bytes = await download(url, signal)
    verify(url, file, bytes)
    const partial = `${path}.part`
    try {
      await mkdir(directory, { recursive: true })
      await writeFile(partial, bytes)
      await rename(partial, path)
    } catch (thrown) {
      await rm(partial, { force: true })
      throw new StowageError(
        'FILE_UNWRITABLE',
        { found: `${path} (${messageOf(thrown)})`, expected: 'a folder that can be written to' },
        { cause: thrown },
      )
    }
    onFile({ name, bytes: bytes.length, verified: sha256 !== undefined, kept: false })
  }
}

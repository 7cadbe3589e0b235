import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { CsvTable, readBounded } from '../traces/csv.ts'
import { FGD_EARLY_COLUMN, FGD_LAST_COLUMN } from './fgd.ts'

/** What the authors of FGD measured with one policy on one list, over seeds 42 to 51. */
export interface Published {
  /** allocated GPUs in percent at 130 % of demand, mean of the seeds */
  readonly allocationPercent: number
  /** the same at 95 % of demand; undefined where only the paper's end is known */
  readonly earlyPercent: number | undefined
  /** by column of arrived demand, mean of the seeds; empty where only the end is known */
  readonly curve: readonly number[]
}

/** list -> policy as we call it -> what was published */
export type PublishedTable = ReadonlyMap<string, ReadonlyMap<string, Published>>

/** Our names of the policies of the published table. */
const POLICIES: ReadonlyMap<string, string> = new Map([
  ['01-Random', 'random'],
  ['02-DotProd', 'dotprod'],
  ['03-GpuClustering', 'gpu_clustering'],
  ['04-GpuPacking', 'gpu_packing'],
  ['05-BestFit', 'bestfit'],
  ['06-FGD', 'fgd'],
])

/** Means over seeds 42 to 51 of the published table, for those who have the lists without it. */
const KNOWN: readonly (readonly [list: string, policy: string, allocationPercent: number])[] = [
  ['default', 'random', 87.47],
  ['default', 'dotprod', 90.85],
  ['default', 'gpu_clustering', 91.88],
  ['default', 'gpu_packing', 92.0],
  ['default', 'bestfit', 93.08],
  ['default', 'fgd', 95.39],
  ['cpu250', 'bestfit', 91.45],
  ['cpu250', 'fgd', 93.41],
  ['gpushare100', 'bestfit', 85.01],
  ['gpushare100', 'fgd', 86.9],
]

export const PUBLISHED_FILE = 'published_allo.csv'
const BYTES_AT_MOST = 16 * 2 ** 20
const COLUMNS = Array.from({ length: FGD_LAST_COLUMN + 1 }, (_, column) => String(column))

/** `openb_pod_list_cpu250` and `openb_pod_list_cpu250.csv` are `cpu250`. */
export const listName = (file: string): string => file.replace(/^openb_pod_list_/, '').replace(/\.csv$/, '')

/** @throws StowageError TRACE_MALFORMED */
export const parsePublished = (file: string, text: string): PublishedTable => {
  const table = new CsvTable(file, text, ['workload', 'sc_policy', ...COLUMNS])
  const sums = new Map<string, Map<string, { seeds: number; readonly sums: Float64Array }>>()
  for (const row of table.rows) {
    const list = listName(table.text(row, 'workload', /^[-\w.]{1,128}$/, 'the name of a pod list'))
    const policy = POLICIES.get(table.text(row, 'sc_policy', /^[-\w.]{1,128}$/, 'the name of a policy'))
    if (policy === undefined) continue
    const ofList = sums.get(list) ?? new Map()
    sums.set(list, ofList)
    const sum = ofList.get(policy) ?? { seeds: 0, sums: new Float64Array(COLUMNS.length) }
    ofList.set(policy, sum)
    sum.seeds++
    for (const [at, column] of COLUMNS.entries())
      sum.sums[at] += Number(table.text(row, column, /^\d{1,3}(\.\d{1,20})?$/, 'a percentage'))
  }
  return new Map(
    Array.from(sums, ([list, ofList]) => [
      list,
      new Map(
        Array.from(ofList, ([policy, sum]): [string, Published] => {
          const curve = Array.from(sum.sums, (value) => value / sum.seeds)
          return [
            policy,
            { allocationPercent: curve[FGD_LAST_COLUMN] ?? 0, earlyPercent: curve[FGD_EARLY_COLUMN], curve },
          ]
        }),
      ),
    ]),
  )
}

const known = (): PublishedTable => {
  const table = new Map<string, Map<string, Published>>()
  for (const [list, policy, allocationPercent] of KNOWN) {
    const ofList = table.get(list) ?? new Map<string, Published>()
    table.set(list, ofList.set(policy, { allocationPercent, earlyPercent: undefined, curve: [] }))
  }
  return table
}

/**
 * What was published: the table that lies beside the lists, else its means at the end, as far as they are known here.
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED
 */
export const readPublished = async (directory: string): Promise<PublishedTable> => {
  const path = join(directory, PUBLISHED_FILE)
  if (!existsSync(path)) return known()
  return parsePublished(PUBLISHED_FILE, await readBounded(path, BYTES_AT_MOST, 'the published table'))
}

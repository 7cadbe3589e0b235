/** A quantity over the time of a run. */
export interface CellSeries {
  readonly name: string
  readonly label: string
  readonly unit: string
  /** ascending */
  readonly timesS: readonly number[]
  readonly values: readonly number[]
}

/** What was on each node when. */
export interface CellHeatMap {
  readonly value: { readonly label: string; readonly unit: string; readonly min: number; readonly max: number }
  /** nodes, or the first of a group whose mean is shown */
  readonly rows: readonly string[]
  readonly columnsS: readonly number[]
  /** cells[row][column] */
  readonly cells: readonly (readonly number[])[]
}

/** What one run of an experiment gives, whatever was run: one policy, one pattern, one seed. */
export interface CellResult {
  /** metric and value; what was not measured is left out */
  readonly values: readonly (readonly [metric: string, value: number])[]
  /** equal digests, equal runs; '' where a run has none */
  readonly digest: string
  readonly series: readonly CellSeries[]
  readonly heatMap: CellHeatMap | undefined
}

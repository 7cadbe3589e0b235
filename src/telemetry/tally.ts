import type { Metric, Registry } from 'prom-client'

type Labels<L extends string> = Readonly<Record<L, string>>

interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/**
 * A metric that prom-client serves and that costs the hot path an addition: prom-client's own counters and histograms look
 * their labels up by a string made anew at each call (1 us, and they throw on NaN), these are bound once and never throw.
 */
abstract class Family<L extends string, Series> {
  readonly name: string
  readonly help: string
  abstract readonly type: 'counter' | 'histogram'
  readonly #series: { readonly labels: Labels<L>; readonly series: Series }[] = []

  constructor(name: string, help: string) {
    this.name = name
    this.help = help
  }

  protected abstract make(): Series
  protected abstract samples(labels: Labels<L>, series: Series): Sample[]

  /** A new series; ask once for each combination of labels. */
  series(labels: Labels<L>): Series {
    const series = this.make()
    this.#series.push({ labels, series })
    return series
  }

  /** prom-client's protocol for a scrape. */
  get(): object {
    const values = this.#series.flatMap(({ labels, series }) => this.samples(labels, series))
    return { name: this.name, help: this.help, type: this.type, aggregator: 'sum', values }
  }

  register(registry: Registry): this {
    // the registry asks its metrics for nothing but a name and `get`
    registry.registerMetric(this as unknown as Metric)
    return this
  }
}

/** One series of a counter. */
export interface Count {
  add(): void
}

class CountSeries implements Count {
  value = 0

  add(): void {
    this.value++
  }
}

export class CountFamily<L extends string> extends Family<L, CountSeries> {
  readonly type = 'counter'

  protected override make(): CountSeries {
    return new CountSeries()
  }

  protected override samples(labels: Labels<L>, series: CountSeries): Sample[] {
    return [{ metricName: this.name, labels, value: series.value }]
  }
}

/** One series of a histogram. */
export interface Spread {
  /** what is no finite number is left out */
  observe(value: number): void
}

class SpreadSeries implements Spread {
  readonly #bounds: Float64Array
  /** by bucket, not yet summed up; the last is +Inf */
  readonly counts: Float64Array
  sum = 0

  constructor(bounds: Float64Array) {
    this.#bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    if (!Number.isFinite(value)) return
    const bounds = this.#bounds
    let bucket = 0
    // bucket < bounds.length
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++
    this.counts[bucket]!++
    this.sum += value
  }
}

export class SpreadFamily<L extends string = never> extends Family<L, SpreadSeries> {
  readonly type = 'histogram'
  readonly #bounds: Float64Array

  /** @param bounds upper bounds of the buckets, ascending, without +Inf */
  constructor(name: string, help: string, bounds: readonly number[]) {
    super(name, help)
    this.#bounds = Float64Array.from(bounds)
  }

  protected override make(): SpreadSeries {
    return new SpreadSeries(this.#bounds)
  }

  protected override samples(labels: Labels<L>, series: SpreadSeries): Sample[] {
    let upTo = 0
    const buckets = Array.from(series.counts, (count, bucket) => {
      upTo += count
      const le = bucket < this.#bounds.length ? String(this.#bounds[bucket]) : '+Inf'
      return { metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: upTo }
    })
    return [
      ...buckets,
      { metricName: `${this.name}_sum`, labels, value: series.sum },
      { metricName: `${this.name}_count`, labels, value: upTo },
    ]
  }
}

/** Most values that one label may take: beyond, they count as `other`. Names from outside must not fill the memory. */
const MAX_VALUES = 200

/** Series by one or two label values, found without making a key. */
export class SeriesOf<T> {
  readonly #series = new Map<string, Map<string, T>>()
  readonly #make: (a: string, b: string) => T
  #size = 0
  #other: T | undefined

  constructor(make: (a: string, b: string) => T) {
    this.#make = make
  }

  at(a: string, b = ''): T {
    const known = this.#series.get(a)?.get(b)
    if (known !== undefined) return known
    if (this.#size >= MAX_VALUES) return (this.#other ??= this.#make('other', 'other'))
    const made = this.#make(a, b)
    this.#size++
    const row = this.#series.get(a)
    if (row === undefined) this.#series.set(a, new Map([[b, made]]))
    else row.set(b, made)
    return made
  }
}

import type { EChartsOption } from 'echarts'
import { type Figure, LETTER_WIDTH } from './figure.ts'

/**
 * Okabe and Ito's colours, told apart by colour-blind people too (https://jfly.uni-koeln.de/color/), without their yellow, which is
 * too light for lines.
 */
const COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000', '#7F7F7F'] as const
/** So that lines can be told apart in grey as well. */
const DASHES = ['solid', [8, 4], [2, 3], [10, 3, 2, 3]] as const
const INK = '#1a1a1a'
const FAINT = '#d9d9d9'
const FONT_PX = 17
const SMALL_PX = 15
const WIDTH_PX = 760

const colourOf = (index: number): string => COLOURS[index % COLOURS.length] ?? INK
const dashOf = (index: number): 'solid' | number[] => {
  const dash = DASHES[(index + Math.floor(index / COLOURS.length)) % DASHES.length] ?? 'solid'
  return dash === 'solid' ? dash : [...dash]
}

/** A quantity on an axis. */
export interface Axis {
  readonly label: string
  /** '' for a pure number */
  readonly unit: string
  readonly min?: number | undefined
  readonly max?: number | undefined
}

const titleOf = ({ label, unit }: Axis): string => (unit === '' ? label : `${label} (${unit})`)

/** The title of an axis of that length, the unit on a line of its own where it is too long. */
const fittedTitle = (axis: Axis, lengthPx: number): string =>
  textPx(titleOf(axis), FONT_PX) <= lengthPx ? titleOf(axis) : `${axis.label}\n(${axis.unit})`

/** Height of a plot between its margins, and the room at its left for ticks and the title. */
const PLOT_PX = 320
const LEFT_PX = 84
const SECOND_LINE_PX = 24
/** Room at the left of a plot for the ticks and the title of its upward axis. */
const leftOf = (y: Axis): number => LEFT_PX + (fittedTitle(y, UPWARD_PX).includes('\n') ? SECOND_LINE_PX : 0)
/** What the title of an upward axis may take. */
const UPWARD_PX = PLOT_PX + 40
/** Charts keep the margins they are given: ECharts would shrink a plot whose title it takes for too long. */
const MARGINS = { outerBoundsMode: 'none' } as const

/** Numbers as people read them: 1200000 is 1.2M, 0.05 stays. */
const tick = (value: number): string => {
  const size = Math.abs(value)
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`
  return String(Number(value.toPrecision(6))).replace('-', '\u2212')
}

const bounds = ({ min, max }: Axis): { min?: number; max?: number } => ({
  ...(min === undefined ? {} : { min }),
  ...(max === undefined ? {} : { max }),
})

const NICE = [1, 2, 5, 10] as const
/** A step of 1, 2 or 5 times a power of ten, of which about `steps` fill the span. */
const niceStep = (span: number, steps: number): number => {
  const power = 10 ** Math.floor(Math.log10(span / steps))
  return power * (NICE.find((step) => span / power / step <= steps) ?? 10)
}

/** A step that divides the axis evenly where both ends are given: no label crowds the last one. */
const evenInterval = ({ max, min }: Axis): { interval?: number } | undefined => {
  if (min === undefined || max === undefined || !(max > min)) return {}
  const step = [8, 10, 13, 7, 6, 5, 4]
    .map((steps) => niceStep(max - min, steps))
    .find((one) => Number.isInteger((max - min) / one))
  return step === undefined ? undefined : { interval: step }
}

const valueAxis = (axis: Axis, nameGap: number, lengthPx = WIDTH_PX) => ({
  type: 'value' as const,
  name: fittedTitle(axis, lengthPx),
  nameLocation: 'middle' as const,
  nameGap,
  nameTextStyle: { fontSize: FONT_PX, color: INK, lineHeight: 20 },
  // A last label off the steps would crowd the one before.
  axisLabel: { fontSize: SMALL_PX, color: INK, formatter: tick, showMaxLabel: evenInterval(axis) !== undefined },
  axisLine: { show: true, lineStyle: { color: INK, width: 1 } },
  axisTick: { show: true, lineStyle: { color: INK } },
  splitLine: { show: true, lineStyle: { color: FAINT, width: 1 } },
  ...bounds(axis),
  ...evenInterval(axis),
})

const categoryAxis = (names: readonly string[], label: string, nameGap: number) => ({
  type: 'category' as const,
  data: [...names],
  name: label,
  nameLocation: 'middle' as const,
  nameGap,
  nameTextStyle: { fontSize: FONT_PX, color: INK },
  axisLabel: { fontSize: SMALL_PX, color: INK, interval: 0 },
  axisLine: { show: true, lineStyle: { color: INK, width: 1 } },
  axisTick: { show: false },
})

const legendAbove = (names: readonly string[]) => ({
  data: [...names],
  top: 6,
  left: 'center' as const,
  itemWidth: 34,
  itemHeight: 10,
  itemGap: 18,
  textStyle: { fontSize: SMALL_PX, color: INK },
})

/** About how much room text takes, for margins. */
const textPx = (text: string, fontPx: number): number => text.length * fontPx * LETTER_WIDTH
/** Lines of a legend above a figure of that width. */
const legendLines = (names: readonly string[], widthPx: number): number =>
  Math.ceil(names.reduce((sum, name) => sum + textPx(name, SMALL_PX) + 57, 0) / (widthPx - 40))
const LEGEND_LINE_PX = 26

/** A point with how sure it is: limits of its confidence interval. */
export interface Interval {
  readonly mean: number
  readonly low: number
  readonly high: number
}

/** A line, with a band around it where limits are given. */
export interface Line {
  readonly name: string
  /** null: no value there, and the line is broken */
  readonly points: readonly (readonly [x: number, y: number | null])[]
  /** limits at the same places */
  readonly band?: readonly (readonly [low: number, high: number])[] | undefined
  /** a reference: thin, grey, dotted */
  readonly isReference?: boolean | undefined
}

export interface LinesSpec {
  readonly name: string
  readonly caption: string
  readonly x: Axis
  readonly y: Axis
  readonly lines: readonly Line[]
}

/** What is no policy's: an ideal below the lines, and what others have published above them. */
const REFERENCES = [
  { colour: '#8c8c8c', dash: [3, 3], width: 1.5, z: 1 },
  { colour: INK, dash: [2, 6], width: 2, z: 5 },
] as const

/** Curves over a continuous quantity. */
export const linesFigure = ({ name, caption, x, y, lines }: LinesSpec): Figure => {
  const legend = lines.map((line) => line.name)
  const top = 18 + LEGEND_LINE_PX * legendLines(legend, WIDTH_PX)
  const heightPx = PLOT_PX + 66 + top
  let coloured = 0
  let references = 0
  const series = lines.flatMap((line) => {
    const index = line.isReference === true ? -1 : coloured++
    const reference = index < 0 ? REFERENCES[references++ % REFERENCES.length] : undefined
    const colour = reference?.colour ?? colourOf(index)
    const { band } = line
    const limits =
      band === undefined
        ? []
        : [
            {
              type: 'line' as const,
              name: `${line.name} low`,
              stack: line.name,
              stackStrategy: 'all' as const,
              data: line.points.map(([at, value], i) => [at, value === null ? null : (band[i]?.[0] ?? null)]),
              showSymbol: false,
              lineStyle: { opacity: 0 },
              silent: true,
            },
            {
              type: 'line' as const,
              name: `${line.name} high`,
              stack: line.name,
              stackStrategy: 'all' as const,
              data: line.points.map(([at, value], i) => [
                at,
                value === null ? null : (band[i]?.[1] ?? 0) - (band[i]?.[0] ?? 0),
              ]),
              showSymbol: false,
              lineStyle: { opacity: 0 },
              areaStyle: { color: colour, opacity: 0.15 },
              silent: true,
            },
          ]
    return [
      ...limits,
      {
        type: 'line' as const,
        name: line.name,
        data: line.points.map(([at, value]) => [at, value]),
        symbol: 'none',
        clip: true,
        itemStyle: { color: colour },
        lineStyle: {
          color: colour,
          width: reference?.width ?? 2.5,
          type: reference === undefined ? dashOf(index) : [...reference.dash],
        },
        z: reference?.z ?? 3,
      },
    ]
  })
  return {
    name,
    caption,
    widthPx: WIDTH_PX,
    heightPx,
    option: {
      // The line alone, as it is drawn: a legend adds a dot where lines have none.
      legend: { ...legendAbove(legend), itemStyle: { opacity: 0 } },
      grid: { ...MARGINS, left: leftOf(y), right: 24, top, bottom: 66 },
      xAxis: { ...valueAxis(x, 34), splitLine: { show: false } },
      yAxis: valueAxis(y, 50, UPWARD_PX),
      series,
    },
  }
}

/** Whiskers from `low` to `high` at a place, drawn over whatever marks the mean. */
const whisker = (horizontal: boolean, colour: string) => {
  const half = 5
  const style = { stroke: colour, lineWidth: 2, fill: 'none' }
  return (_: unknown, api: { value(at: number): number; coord(value: number[]): number[] }) => {
    const [place, low, high, shift] = [api.value(0), api.value(1), api.value(2), api.value(3)]
    const at = (value: number): [number, number] => {
      const [x = 0, y = 0] = api.coord(horizontal ? [value, place] : [place, value])
      return horizontal ? [x, y + shift] : [x + shift, y]
    }
    const bar = ([x, y]: [number, number]) => ({
      type: 'line' as const,
      shape: horizontal ? { x1: x, y1: y - half, x2: x, y2: y + half } : { x1: x - half, y1: y, x2: x + half, y2: y },
      style,
    })
    const [from, to] = [at(low), at(high)]
    return {
      type: 'group' as const,
      children: [
        { type: 'line' as const, shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }, style },
        bar(from),
        bar(to),
      ],
    }
  }
}

const MARKS = [
  'circle',
  'rect',
  'triangle',
  'diamond',
  'path://M0,0 L10,0 L5,9 Z',
  'path://M3,0 H7 V3 H10 V7 H7 V10 H3 V7 H0 V3 H3 Z',
  'path://M5,0 L10,4 L8,10 L2,10 L0,4 Z',
] as const

export interface IntervalsSpec {
  readonly name: string
  readonly caption: string
  readonly x: Axis
  /** from top to bottom */
  readonly rows: readonly { readonly name: string; readonly interval: Interval }[]
  /** a vertical line, such as no difference at all */
  readonly reference?: { readonly value: number; readonly label: string }
}

/** Means with confidence intervals, one below the other: what a comparison says at a glance. */
export const intervalsFigure = ({ name, caption, x, rows, reference }: IntervalsSpec): Figure => {
  const names = rows.map((row) => row.name).reverse()
  const upward = rows.toReversed()
  const left = 24 + Math.max(...names.map((text) => textPx(text, SMALL_PX)))
  const top = reference === undefined ? 16 : 40
  return {
    name,
    caption,
    widthPx: WIDTH_PX,
    heightPx: top + 70 + 38 * rows.length,
    option: {
      grid: { ...MARGINS, left, right: 28, top, bottom: 66 },
      xAxis: { ...valueAxis(x, 34), scale: true },
      yAxis: { ...categoryAxis(names, '', 0), axisLine: { show: true, lineStyle: { color: INK } } },
      series: [
        {
          type: 'custom',
          renderItem: whisker(true, colourOf(0)),
          data: upward.map(({ interval }, at) => [at, interval.low, interval.high, 0]),
          encode: { x: [1, 2], y: 0 },
          z: 3,
        },
        {
          type: 'scatter',
          symbol: 'circle',
          symbolSize: 11,
          itemStyle: { color: colourOf(0), opacity: 1 },
          data: upward.map(({ interval }, at) => [interval.mean, at]),
          z: 4,
          ...(reference === undefined
            ? {}
            : {
                markLine: {
                  symbol: 'none',
                  silent: true,
                  lineStyle: { color: INK, type: [4, 4], width: 1.5 },
                  label: { formatter: reference.label, fontSize: SMALL_PX, color: INK, position: 'end' },
                  data: [{ xAxis: reference.value }],
                },
              }),
        },
      ],
    } as unknown as EChartsOption,
  }
}

export interface GroupedSpec {
  readonly name: string
  readonly caption: string
  /** what the groups are, such as load patterns */
  readonly groupLabel: string
  readonly groups: readonly string[]
  readonly y: Axis
  /** values[i] belongs to groups[i]; undefined: not measured */
  readonly series: readonly { readonly name: string; readonly values: readonly (Interval | undefined)[] }[]
}

/** Means with confidence intervals side by side in groups. */
export const groupedFigure = ({ name, caption, groupLabel, groups, y, series }: GroupedSpec): Figure => {
  const legend = series.map((one) => one.name)
  const top = 18 + LEGEND_LINE_PX * legendLines(legend, WIDTH_PX)
  const plotPx = WIDTH_PX - leftOf(y) - 24
  const stepPx = Math.min(26, (plotPx / Math.max(1, groups.length)) * (0.8 / Math.max(1, series.length)))
  const shiftOf = (index: number): number => (index - (series.length - 1) / 2) * stepPx
  return {
    name,
    caption,
    widthPx: WIDTH_PX,
    heightPx: PLOT_PX + 66 + top,
    option: {
      legend: { ...legendAbove(legend), itemWidth: 13, itemHeight: 13 },
      grid: { ...MARGINS, left: leftOf(y), right: 24, top, bottom: 66 },
      xAxis: { ...categoryAxis(groups, groupLabel, 34), splitLine: { show: true, lineStyle: { color: FAINT } } },
      // Marks, not bars: they need no zero, and differences show.
      yAxis: { ...valueAxis(y, 50, UPWARD_PX), scale: true },
      series: series.flatMap((one, index) => {
        const there = one.values.flatMap((interval, at) => (interval === undefined ? [] : [{ interval, at }]))
        return [
          {
            type: 'custom',
            renderItem: whisker(false, colourOf(index)),
            data: there.map(({ interval, at }) => [at, interval.low, interval.high, shiftOf(index)]),
            encode: { x: 0, y: [1, 2] },
            z: 3,
          },
          {
            type: 'scatter',
            name: one.name,
            symbol: MARKS[index % MARKS.length],
            symbolSize: 11,
            symbolOffset: [shiftOf(index), 0],
            itemStyle: { color: colourOf(index), opacity: 1 },
            data: there.map(({ interval, at }) => [at, interval.mean]),
            z: 4,
          },
        ]
      }),
    } as unknown as EChartsOption,
  }
}

/** Dark is much; even steps of lightness, for colour-blind readers and for print (ColorBrewer's YlGnBu). */
const HEAT = ['#ffffd9', '#edf8b1', '#c7e9b4', '#7fcdbb', '#41b6c4', '#1d91c0', '#225ea8', '#253494', '#081d58']

export interface HeatMapSpec {
  readonly name: string
  readonly caption: string
  readonly x: Axis
  readonly yLabel: string
  readonly value: Axis
  readonly columns: readonly number[]
  readonly rows: readonly string[]
  /** cells[row][column] */
  readonly cells: readonly (readonly number[])[]
}

/** A value by node and time. */
export const heatMapFigure = ({ name, caption, x, yLabel, value, columns, rows, cells }: HeatMapSpec): Figure => {
  const last = columns.at(-1) ?? 0
  const step = last > 0 ? niceStep(last, 8) : 1
  /** the first column at or after each round number */
  const labels = new Map<number, string>()
  for (let mark = 0; mark <= last; mark += step) {
    const column = columns.findIndex((at) => at >= mark)
    if (column >= 0) labels.set(column, tick(mark))
  }
  const everyRow = Math.max(1, Math.ceil(rows.length / 12))
  return {
    name,
    caption,
    widthPx: WIDTH_PX,
    heightPx: 470,
    option: {
      grid: {
        ...MARGINS,
        left: 40 + Math.max(50, ...rows.map((row) => textPx(row, SMALL_PX))),
        right: 118,
        top: 18,
        bottom: 66,
      },
      xAxis: {
        ...categoryAxis(columns.map(tick), titleOf(x), 34),
        axisLabel: {
          fontSize: SMALL_PX,
          color: INK,
          interval: (column: number) => labels.has(column),
          formatter: (_: string, column: number) => labels.get(column) ?? '',
        },
      },
      yAxis: {
        ...categoryAxis(rows, yLabel, 12 + Math.max(50, ...rows.map((row) => textPx(row, SMALL_PX)))),
        axisLabel: { fontSize: SMALL_PX, color: INK, interval: everyRow - 1 },
      },
      visualMap: {
        type: 'continuous',
        min: value.min ?? 0,
        max: value.max ?? 1,
        calculable: false,
        orient: 'vertical',
        right: 14,
        top: 44,
        itemHeight: 320,
        itemWidth: 16,
        text: [tick(value.max ?? 1), tick(value.min ?? 0)],
        textStyle: { fontSize: SMALL_PX, color: INK },
        inRange: { color: HEAT },
      },
      graphic: [
        {
          type: 'text',
          x: WIDTH_PX - 14,
          y: 211,
          rotation: Math.PI / 2,
          style: { text: titleOf(value), fontSize: SMALL_PX, fill: INK, align: 'center', verticalAlign: 'middle' },
        },
      ],
      series: [
        {
          type: 'heatmap',
          data: cells.flatMap((row, y) => row.map((cell, column) => [column, y, cell])),
          itemStyle: { borderWidth: 0 },
        },
      ],
    } as unknown as EChartsOption,
  }
}

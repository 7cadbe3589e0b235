import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { recordOf } from '../experiments/record.fixture.ts'
import { groupedFigure, heatMapFigure, intervalsFigure, linesFigure } from './charts.ts'
import { type Figure, renderPng, renderSvg } from './figure.ts'
import { figuresOf } from './record-figures.ts'
import { reportPage } from './report-page.ts'

const interval = { mean: 2, low: 1.5, high: 2.5 }
const hostile = '<script>alert(1)</script>'
const lines = (names: readonly string[]): Figure =>
  linesFigure({
    name: 'lines',
    caption: 'lines',
    x: { label: 'Time', unit: 's', min: 0, max: 10 },
    y: { label: 'Latency', unit: 'ms' },
    lines: names.map((name, at) => ({
      name,
      points: [
        [0, at],
        [5, null],
        [10, at + 1],
      ],
      band: [
        [at, at],
        [0, 0],
        [at, at + 2],
      ],
    })),
  })
const figures: readonly Figure[] = [
  lines(['borg', 'fgd']),
  intervalsFigure({ name: 'i', caption: 'i', x: { label: 'Latency', unit: 'ms' }, rows: [{ name: 'borg', interval }] }),
  groupedFigure({
    name: 'g',
    caption: 'g',
    groupLabel: 'Load pattern',
    groups: ['ramp', 'spike'],
    y: { label: 'Latency', unit: 'ms' },
    series: [{ name: 'borg', values: [interval, undefined] }],
  }),
  heatMapFigure({
    name: 'h',
    caption: 'h',
    x: { label: 'Time', unit: 's' },
    yLabel: 'Node',
    value: { label: 'Requested CPU', unit: '% of the node', min: 0, max: 100 },
    columns: [0, 1],
    rows: ['node-0', 'node-1'],
    cells: [
      [0, 50],
      [100, 25],
    ],
  }),
]

/** Width and height in the header of a PNG. */
const sizeOf = (png: Uint8Array): [number, number] => {
  const view = new DataView(png.buffer, png.byteOffset)
  return [view.getUint32(16), view.getUint32(20)]
}

describe('a figure', () => {
  for (const figure of figures)
    it(`"${figure.name}" has its axes named with units, and a PNG at three times its size`, () => {
      const svg = renderSvg(figure)
      assert.match(svg, /\((ms|s|% of the node)\)/)
      assert.doesNotMatch(svg, /NaN|undefined/)
      assert.doesNotMatch(svg, /(href|src)="http|url\(http/)
      assert.deepEqual(sizeOf(renderPng(svg)), [3 * figure.widthPx, 3 * figure.heightPx])
    })

  it('is the same again', () => {
    const [first] = figures
    assert.ok(first !== undefined)
    assert.equal(renderSvg(first), renderSvg(first))
    assert.deepEqual(renderPng(renderSvg(first)), renderPng(renderSvg(first)))
  })

  it('shows its text in PNG whatever fonts the machine has: it brings its own', () => {
    const withText =
      '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20"><text x="2" y="15" font-family="Nowhere">Äx≥</text></svg>'
    const without = withText.replace('Äx≥', '')
    assert.notDeepEqual(renderPng(withText), renderPng(without))
  })

  it('takes names as text, whatever is in them', () => {
    assert.doesNotMatch(renderSvg(lines([hostile])), /<script/)
  })

  it('is left out where nothing differs', () => {
    assert.equal(figuresOf(recordOf({ borg: [1, 1], fgd: [1, 1] })).length, 0)
    assert.equal(figuresOf(recordOf({ borg: [1, 2], fgd: [3, 5] })).length, 1)
  })
})

describe('the report', () => {
  const seeds = [1, 2, 3, 4, 5, 6]
  const page = (learned: (seed: number) => number): string =>
    reportPage([recordOf({ borg: seeds.map((seed) => 10 + seed), learned: seeds.map(learned) })])

  it('asks for nothing from anywhere, and lets no text of the results become markup', () => {
    const record = recordOf({ [hostile]: [1, 2], borg: [2, 4] }, { name: hostile, label: hostile })
    const html = reportPage([
      { ...record, description: hostile, provenance: { command: hostile, version: hostile, source: hostile } },
    ])
    assert.doesNotMatch(html, /<script/i)
    assert.match(html, /&lt;script&gt;alert\(1\)&lt;\/script&gt;/)
    assert.deepEqual(html.match(/(?:src|href)="(?!data:image\/svg\+xml;base64,)[^"]*"/g), null)
    assert.match(html, /default-src 'none'/)
  })

  it('says what a learned policy can claim, and that one does not beat the best heuristic where it does not', () => {
    assert.match(
      page((seed) => 11 + seed + 0.1 * (seed % 2)),
      /learned beats the best heuristic<\/strong> borg/,
    )
    assert.match(
      page((seed) => 10 + seed + (seed % 2 === 0 ? 1 : -1)),
      /learned does not beat the best heuristic/,
    )
    assert.match(
      page((seed) => 8 + seed + 0.1 * (seed % 2)),
      /learned is worse than the best heuristic/,
    )
  })

  it('shows the command, the seeds, intervals and both tests', () => {
    const html = page((seed) => 10 + seed)
    for (const expected of ['stowage experiment tried.yaml', '1, 2, 3, 4, 5, 6', '95 % interval', 'Holm', 'Wilcoxon'])
      assert.ok(html.includes(expected), expected)
  })
})

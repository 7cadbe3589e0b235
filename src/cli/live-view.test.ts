import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { drawFrame, type LiveFrame, LiveView, plainLine } from './live-view.ts'

const frame = (nodes: number): LiveFrame => ({
  elapsedMs: 12_300,
  forMs: 20_000,
  policy: 'kube-default',
  apiUrl: 'https://127.0.0.1:6443',
  kubectl: 'kubectl --kubeconfig /tmp/k get pods -A',
  nodes: Array.from({ length: nodes }, (_, i) => ({
    name: `node-${i}`,
    cpu: (i % 11) / 10,
    memory: 0.25,
    pods: i,
    ready: i !== 3,
  })),
  queue: { active: 1, backoff: 2, unschedulable: 3, gated: 4 },
  pods: { created: 90, refused: 0, toCreate: 100, bound: 80, inFlight: 0 },
  decisionsPerSecond: [0, 10, 20, 40],
  lastDecisions: ['default/web-1 -> node-7', 'default/web-0 -> node-2'],
})
const plain = { columns: 80, rows: 30, colour: false }

describe('the live view', () => {
  it('shows each of a few nodes as bars with name and shares', () => {
    const lines = drawFrame(frame(5), plain)
    const row = lines.find((line) => line.startsWith('node-2'))
    assert.match(row ?? '', /node-2 .*20 %.*25 %.*2 pods/)
    assert.ok(lines.some((line) => line.includes('6 waiting')))
    assert.ok(lines.some((line) => line.includes('12 s of 20 s')))
  })

  for (const nodes of [0, 1, 100, 1213, 50_000])
    for (const size of [
      { columns: 80, rows: 24 },
      { columns: 200, rows: 60 },
      { columns: 20, rows: 10 },
    ])
      it(`keeps ${nodes} nodes within ${size.columns} x ${size.rows} characters`, () => {
        const lines = drawFrame(frame(nodes), { ...size, colour: false })
        assert.ok(lines.length < size.rows, `${lines.length} lines`)
        for (const line of lines.slice(8)) assert.ok(line.length <= Math.max(80, size.columns), line)
      })

  it('writes plain lines where there is no terminal, and no escape code', () => {
    let text = ''
    const view = new LiveView({ write: (part) => (text += part) }, { colour: true })
    view.show(frame(3))
    view.close()
    assert.equal(text, `${plainLine(frame(3))}\n`)
    assert.ok(!text.includes('\x1b'))
  })

  it('gives the terminal back as it was', () => {
    let text = ''
    const view = new LiveView({ isTTY: true, columns: 80, rows: 24, write: (part) => (text += part) }, { colour: true })
    view.show(frame(3))
    view.show(frame(3))
    view.close()
    assert.equal(text.split('\x1b[?1049h').length, 2)
    assert.ok(text.endsWith('\x1b[?25h\x1b[?1049l'))
  })
})

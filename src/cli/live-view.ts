/** What the live view shows of a node: shares of what it has, 0..1. */
export interface NodeBar {
  readonly name: string
  readonly cpu: number
  readonly memory: number
  readonly pods: number
  readonly ready: boolean
}

/** One frame's worth of facts. */
export interface LiveFrame {
  readonly elapsedMs: number
  /** how long the run is to last, if that was said */
  readonly forMs?: number
  readonly policy: string
  readonly apiUrl: string
  readonly kubectl: string
  readonly nodes: readonly NodeBar[]
  readonly queue: {
    readonly active: number
    readonly backoff: number
    readonly unschedulable: number
    readonly gated: number
  }
  readonly pods: {
    readonly created: number
    /** could not be created */
    readonly refused: number
    readonly toCreate: number
    readonly bound: number
    readonly inFlight: number
  }
  /** decisions in each of the last seconds, oldest first */
  readonly decisionsPerSecond: readonly number[]
  /** last decisions, newest first, one sentence each; already free of control characters */
  readonly lastDecisions: readonly string[]
}

const EIGHTHS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
const LEFT_EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

const colours = { dim: '2', bold: '1', green: '32', yellow: '33', red: '31', cyan: '36' } as const
type Paint = (colour: keyof typeof colours, text: string) => string

/** Colours for a terminal that has them. */
const painter =
  (colour: boolean): Paint =>
  (name, text) =>
    colour ? `\x1b[${colours[name]}m${text}\x1b[0m` : text

const heat = (share: number): keyof typeof colours => (share >= 0.9 ? 'red' : share >= 0.6 ? 'yellow' : 'green')

const clamp = (share: number): number => (share >= 0 ? Math.min(1, share) : 0)

/** A bar from the left, to an eighth of a character. */
const horizontalBar = (share: number, width: number): string => {
  const eighths = Math.round(clamp(share) * width * 8)
  const bar = '█'.repeat(Math.floor(eighths / 8)) + (LEFT_EIGHTHS[eighths % 8] ?? '')
  return bar.padEnd(width)
}

/** One character whose height is the share; a blank for nothing. */
const verticalBar = (share: number): string =>
  share <= 0 ? '·' : (EIGHTHS[Math.min(7, Math.floor(clamp(share) * 8))] ?? '█')

/** A series from its first value above zero, as a row of vertical bars scaled to its largest. */
const sparkline = (values: readonly number[]): string => {
  const largest = Math.max(1, ...values)
  const first = values.findIndex((value) => value > 0)
  if (first < 0) return ''
  return values
    .slice(first)
    .map((value) => (value === 0 ? ' ' : verticalBar(value / largest)))
    .join('')
}

const created = (pods: LiveFrame['pods']): string =>
  `${pods.created} of ${pods.toCreate} created${pods.refused > 0 ? `, ${pods.refused} refused` : ''}`

const seconds = (ms: number): string => `${Math.floor(ms / 1000)} s`

/** Cuts to a width in characters; colour codes must not be inside. */
const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`

const nodeRows = (nodes: readonly NodeBar[], width: number, rows: number, paint: Paint): string[] => {
  if (nodes.length < rows) {
    const nameWidth = Math.min(24, Math.max(4, ...nodes.map(({ name }) => name.length)))
    const barWidth = Math.max(6, Math.floor((width - nameWidth - 26) / 2))
    const heading = `${' '.repeat(nameWidth)} ${'cpu requested'.padEnd(barWidth + 6)} memory requested`
    const bars = nodes.map(({ name, cpu, memory, pods, ready }) => {
      const bar = (share: number) =>
        `${paint(heat(share), horizontalBar(share, barWidth))}▏${String(Math.round(share * 100)).padStart(3)} %`
      const label = cut(name, nameWidth).padEnd(nameWidth)
      return `${ready ? label : paint('red', label)} ${bar(cpu)} ${bar(memory)} ${String(pods).padStart(4)} pods`
    })
    return [paint('dim', heading), ...bars]
  }
  // More nodes than rows: a character each, as many lines as it takes; where even that is too much, neighbours share one.
  const cells = width * Math.max(1, rows)
  const share = Math.ceil(nodes.length / cells)
  const bars: { share: number; ready: boolean }[] = []
  for (let i = 0; i < nodes.length; i += share) {
    const group = nodes.slice(i, i + share)
    bars.push({
      share: group.reduce((sum, node) => sum + node.cpu, 0) / group.length,
      ready: group.every(({ ready }) => ready),
    })
  }
  const lines: string[] = []
  for (let i = 0; i < bars.length; i += width)
    lines.push(
      bars
        .slice(i, i + width)
        .map((bar) => paint(bar.ready ? heat(bar.share) : 'dim', bar.ready ? verticalBar(bar.share) : 'x'))
        .join(''),
    )
  return lines
}

/**
 * The picture of a running scheduler for a terminal: nodes as bars, the queue, decisions per second, the last decisions.
 * @param size of the terminal, in characters
 * @returns at most `size.rows` lines
 */
export const drawFrame = (frame: LiveFrame, size: { columns: number; rows: number; colour: boolean }): string[] => {
  const paint = painter(size.colour)
  const width = Math.max(40, size.columns - 1)
  const { queue, pods } = frame
  const rate = frame.decisionsPerSecond.at(-1) ?? 0
  const mean = (pick: (node: NodeBar) => number): string =>
    frame.nodes.length === 0
      ? '-'
      : `${Math.round((frame.nodes.reduce((sum, node) => sum + pick(node), 0) / frame.nodes.length) * 100)} %`
  const span =
    frame.forMs === undefined ? seconds(frame.elapsedMs) : `${seconds(frame.elapsedMs)} of ${seconds(frame.forMs)}`
  const waiting = queue.active + queue.backoff + queue.unschedulable
  const head = [
    `${paint('bold', 'stowage')}  ${span}  policy ${paint('cyan', frame.policy)}  ${frame.apiUrl}`,
    cut(frame.kubectl, width),
    '',
    `pods   ${created(pods)}  ${paint('green', `${pods.bound} bound`)}  ${pods.inFlight} in flight  ${waiting > 0 ? paint('yellow', `${waiting} waiting`) : '0 waiting'}  ${queue.gated} gated`,
    `queue  active ${queue.active}  back-off ${queue.backoff}  unschedulable ${queue.unschedulable}`,
    `rate   ${String(rate).padStart(5)} decisions/s  ${paint('cyan', sparkline(frame.decisionsPerSecond.slice(-Math.max(10, width - 28))))}`,
    '',
    `nodes  ${frame.nodes.length}  requested: cpu ${mean((node) => node.cpu)}  memory ${mean((node) => node.memory)}`,
  ]
  const forDecisions = Math.min(8, Math.max(2, size.rows - head.length - 6))
  const forNodes = Math.max(1, size.rows - head.length - forDecisions - 3)
  const last = frame.lastDecisions
    .slice(0, forDecisions)
    .map((line, i) => (i === 0 ? cut(line, width) : paint('dim', cut(line, width))))
  return [...head, ...nodeRows(frame.nodes, width, forNodes, paint), '', 'last decisions', ...last].slice(
    0,
    size.rows - 1,
  )
}

/** The same facts as one line, for logs and pipes. */
export const plainLine = ({ elapsedMs, nodes, pods, queue, decisionsPerSecond }: LiveFrame): string =>
  `${seconds(elapsedMs)}: ${nodes.length} nodes, pods ${created(pods)}, ${pods.bound} bound, ${pods.inFlight} in flight, ` +
  `${queue.active + queue.backoff + queue.unschedulable} waiting, ${queue.gated} gated, ${decisionsPerSecond.at(-1) ?? 0} decisions/s`

/** Where the picture is drawn. */
export interface Screen {
  readonly columns?: number
  readonly rows?: number
  readonly isTTY?: boolean
  write(text: string): unknown
}

const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'

/**
 * Draws frames on a terminal, over one another, on its alternate screen; on anything else a plain line now and then.
 * `close` gives the terminal back as it was.
 */
export class LiveView {
  readonly #screen: Screen
  readonly #colour: boolean
  #entered = false

  constructor(screen: Screen, options: { colour: boolean }) {
    this.#screen = screen
    this.#colour = options.colour
  }

  get isLive(): boolean {
    return this.#screen.isTTY === true
  }

  show(frame: LiveFrame): void {
    if (!this.isLive) {
      this.#screen.write(`${plainLine(frame)}\n`)
      return
    }
    const size = { columns: this.#screen.columns ?? 80, rows: this.#screen.rows ?? 24, colour: this.#colour }
    const picture = drawFrame(frame, size)
      .map((line) => `${line}\x1b[K`)
      .join('\n')
    this.#screen.write(`${this.#entered ? '' : ENTER}\x1b[H${picture}\x1b[J`)
    this.#entered = true
  }

  close(): void {
    if (this.#entered) this.#screen.write(LEAVE)
    this.#entered = false
  }
}

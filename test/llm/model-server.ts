import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

/** What came to the server. */
export interface Received {
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  /** the JSON of a POST */
  readonly body: ChatRequest | undefined
}

export interface ChatRequest {
  readonly model: string
  readonly messages: readonly { readonly role: string; readonly content: string }[]
  readonly max_tokens?: number
  readonly temperature?: number
  readonly response_format?: { readonly json_schema?: { readonly name?: string } }
}

/** A group of pods as the question tells of it. */
export interface AskedGroup {
  readonly group: string
  readonly pods: number
  readonly candidates: readonly { readonly id: string; readonly [fact: string]: unknown }[]
  readonly [fact: string]: unknown
}

/** How it answers one request for a completion. */
export type Behaviour =
  | { readonly kind: 'answer'; readonly text: string; readonly stream?: boolean; readonly delayMs?: number }
  | {
      readonly kind: 'status'
      readonly status: number
      readonly headers?: Record<string, string>
      readonly body?: string
    }
  /** bytes as they are, under that type */
  | {
      readonly kind: 'bytes'
      readonly bytes: Buffer
      readonly type?: string
      readonly headers?: Record<string, string>
    }
  /** says that more is to come than does, and hangs up */
  | { readonly kind: 'truncated'; readonly text: string }
  /** never ends, as fast as it is read */
  | { readonly kind: 'endless' }
  /** one byte at a time, for ever */
  | { readonly kind: 'drip' }
  | { readonly kind: 'gzip-bomb' }
  | { readonly kind: 'redirect'; readonly to: string }
  | { readonly kind: 'reset' }
  | { readonly kind: 'silence' }

export type Script = (request: ChatRequest, number: number) => Behaviour

/** The groups that a question is about. */
export const groupsIn = (request: ChatRequest): readonly AskedGroup[] =>
  (JSON.parse(request.messages.at(-1)?.content ?? '{}') as { groups?: AskedGroup[] }).groups ?? []

/** The answer of a model that does as it is told: the emptiest candidates in turn. */
export const sensibleText = (request: ChatRequest): string =>
  request.response_format?.json_schema?.name === 'intent'
    ? '{"spread":1,"spot":0,"idle":0,"near":[],"away":[],"zones":[]}'
    : JSON.stringify({
        decisions: groupsIn(request).map(({ group, pods, candidates }) => {
          const emptiest = candidates.toSorted(
            (a, b) => Number(a['cpu_percent_after']) - Number(b['cpu_percent_after']) || a.id.localeCompare(b.id),
          )
          return {
            group,
            selected_nodes: Array.from({ length: pods }, (_, at) => emptiest[at % emptiest.length]?.id),
            confidence: 0.9,
            reasoning: 'the emptiest first',
          }
        }),
      })

export const sensible: Script = (request) => ({ kind: 'answer', text: sensibleText(request) })

const completion = (text: string, request: ChatRequest): string =>
  JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    model: request.model,
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage: {
      prompt_tokens: Math.ceil(JSON.stringify(request.messages).length / 4),
      completion_tokens: Math.ceil(text.length / 4),
    },
  })

const PIECE = 7

/** A stream as vLLM and OpenAI send it. */
const streamed = (text: string): string =>
  [
    ...(text.match(new RegExp(`[^]{1,${PIECE}}`, 'g')) ?? []).map((content) => ({
      delta: { content },
      finish_reason: null,
    })),
    { delta: {}, finish_reason: 'stop' },
  ]
    .map(
      (choice) =>
        `data: ${JSON.stringify({ object: 'chat.completion.chunk', choices: [{ index: 0, ...choice }] })}\n\n`,
    )
    .join('') + 'data: [DONE]\n\n'

const BOMB_BYTES = 64 * 1024 * 1024

/** An OpenAI-compatible server on a loopback port that does what its script says, and remembers what it was asked. */
export class ModelServer {
  readonly received: Received[] = []
  script: Script
  /** body of GET /v1/models; undefined: 404 */
  models: object | undefined = { object: 'list', data: [{ id: 'test-model', object: 'model' }] }
  readonly #server: http.Server
  readonly #timers = new Set<NodeJS.Timeout>()
  #completions = 0

  private constructor(script: Script) {
    this.script = script
    this.#server = http.createServer((request, response) => this.#receive(request, response))
  }

  static async start(script: Script = sensible): Promise<ModelServer> {
    const server = new ModelServer(script)
    await new Promise<void>((resolve) => {
      server.#server.listen(0, '127.0.0.1', resolve)
    })
    return server
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** requests for completions */
  get questions(): readonly ChatRequest[] {
    return this.received.flatMap(({ body }) => body ?? [])
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#server.closeAllConnections()
    await new Promise((resolve) => {
      this.#server.close(resolve)
    })
  }

  #receive(request: http.IncomingMessage, response: http.ServerResponse): void {
    let text = ''
    response.on('error', () => undefined)
    request.on('error', () => undefined)
    request.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    request.on('end', () => {
      const path = request.url ?? ''
      const body = text === '' ? undefined : (JSON.parse(text) as ChatRequest)
      this.received.push({ path, headers: request.headers, body })
      if (path === '/v1/models' && this.models !== undefined) this.#send(response, 200, JSON.stringify(this.models))
      else if (path === '/v1/chat/completions' && body !== undefined)
        this.#behave(this.script(body, this.#completions++), body, request, response)
      else this.#send(response, 404, '{"error":{"message":"not found"}}')
    })
  }

  #send(
    response: http.ServerResponse,
    status: number,
    body: string | Buffer,
    headers: Record<string, string> = {},
    type = 'application/json',
  ): void {
    response.writeHead(status, { 'content-type': type, ...headers })
    response.end(body)
  }

  #behave(
    behaviour: Behaviour,
    asked: ChatRequest,
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): void {
    switch (behaviour.kind) {
      case 'answer': {
        const { text, stream = false, delayMs = 0 } = behaviour
        const answer = (): void => {
          if (stream) this.#send(response, 200, streamed(text), {}, 'text/event-stream')
          else this.#send(response, 200, completion(text, asked))
        }
        if (delayMs === 0) answer()
        else {
          const timer = setTimeout(() => {
            this.#timers.delete(timer)
            answer()
          }, delayMs)
          this.#timers.add(timer)
        }
        return
      }
      case 'status':
        this.#send(response, behaviour.status, behaviour.body ?? '{"error":{"message":"scripted"}}', behaviour.headers)
        return
      case 'bytes':
        this.#send(response, 200, behaviour.bytes, behaviour.headers, behaviour.type)
        return
      case 'truncated': {
        const whole = completion(behaviour.text, asked)
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(whole.length + 100) })
        response.write(whole.slice(0, whole.length >> 1), () => response.destroy())
        return
      }
      case 'endless': {
        response.writeHead(200, { 'content-type': 'application/json' })
        const chunk = Buffer.alloc(64 * 1024, ' ')
        const write = (): void => {
          while (!response.destroyed && response.write(chunk));
        }
        response.on('drain', write)
        write()
        return
      }
      case 'drip': {
        response.writeHead(200, { 'content-type': 'application/json' })
        const timer = setInterval(() => {
          if (response.destroyed) {
            clearInterval(timer)
            this.#timers.delete(timer)
          } else response.write(' ')
        }, 5)
        this.#timers.add(timer)
        return
      }
      case 'gzip-bomb':
        this.#send(response, 200, gzipSync(Buffer.alloc(BOMB_BYTES, ' ')), { 'content-encoding': 'gzip' })
        return
      case 'redirect':
        this.#send(response, 307, '', { location: behaviour.to })
        return
      case 'reset':
        request.socket.resetAndDestroy()
        return
      case 'silence':
    }
  }
}

/** What both HTTP/1.1 and HTTP/2 responses of Node offer, as far as it is used here. */
export interface Reply {
  readonly headersSent: boolean
  readonly destroyed?: boolean
  writeHead(status: number, headers?: Record<string, string | number>): unknown
  flushHeaders(): void
  write(text: string): boolean
  end(text?: string): unknown
  on(event: 'close' | 'drain' | 'error', listener: () => void): unknown
  once(event: 'drain', listener: () => void): unknown
  /** HTTP/2 only */
  readonly stream?: { close(code?: number): void; readonly destroyed: boolean } | null
  /** HTTP/1.1 only, for breaking connections */
  readonly socket: { destroy(): void } | null
}

/** Answers with a whole body. */
export const send = (
  reply: Reply,
  status: number,
  contentType: string,
  body: string,
  headers: Record<string, string> = {},
): void => {
  reply.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body), ...headers })
  reply.end(body)
}
export const sendJson = (reply: Reply, status: number, body: string, headers?: Record<string, string>): void =>
  send(reply, status, 'application/json', body, headers)

import { readFile, stat } from 'node:fs/promises'
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import { readSettingsFile } from '../../configuration/settings-document.ts'
import type { LiveRequest } from './live-load.ts'

const BODY_BYTES_AT_MOST = 64 * 2 ** 20

const headers = z.record(z.string(), z.string().max(8192)).superRefine((given, context) => {
  for (const [name, value] of Object.entries(given))
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch {
      context.addIssue({ code: 'custom', path: [name], message: 'expected a header as HTTP allows it' })
    }
})

const schema = z
  .strictObject({
    requests: z
      .array(
        z
          .strictObject({
            name: z
              .string()
              .regex(/^[^\p{Cc}]{1,200}$/u, 'expected one line of text')
              .optional(),
            weight: z.number().min(0).max(1e6).default(1),
            method: z
              .string()
              .regex(/^[A-Z]{1,20}$/, 'expected a method such as GET or POST')
              .default('GET'),
            path: z.string().min(1).max(8192).default('/'),
            headers: headers.default({}),
            body: z
              .string()
              .max(2 ** 20)
              .optional(),
            body_file: z.string().min(1).max(4096).optional(),
          })
          .refine(({ body, body_file: file }) => body === undefined || file === undefined, {
            message: 'expected body or body_file, not both',
            path: ['body'],
          })
          .refine(({ method }) => method !== 'CONNECT', { message: 'expected another method', path: ['method'] }),
      )
      .min(1)
      .max(1000),
  })
  .refine(({ requests }) => requests.some(({ weight }) => weight > 0), {
    message: 'expected a weight above 0',
    path: ['requests'],
  })

/** The address that a load is driven at. @throws StowageError BAD_REQUEST */
export const targetUrl = (text: string): URL => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new StowageError('BAD_REQUEST', {
      found: JSON.stringify(text.slice(0, 200)),
      expected: 'an address that begins with http:// or https://',
    })
  // Reports and the commands that they name are kept.
  if (url.username !== '' || url.password !== '')
    throw new StowageError('BAD_REQUEST', {
      found: `an address of ${url.host} with a name or password in it`,
      todo: 'put them into the headers of a file for --requests',
    })
  return url
}

/** What users ask where no file says: the address itself. */
export const plainRequest = (url: URL): LiveRequest => ({
  name: `GET ${url.pathname}`,
  weight: 1,
  url,
  method: 'GET',
  headers: {},
  body: undefined,
})

/**
 * The mix of requests that a file lists, each at its path below the address.
 * @throws StowageError CONFIG_*, FILE_UNREADABLE
 */
export const readRequestMix = async (file: string, base: URL): Promise<LiveRequest[]> => {
  const { requests } = await readSettingsFile(schema, file)
  return Promise.all(
    requests.map(async (request, at): Promise<LiveRequest> => {
      const { body, body_file: bodyFile, headers: given, method, name, path, weight } = request
      const url = URL.canParse(path, base.href) ? new URL(path, base) : undefined
      if (url === undefined || url.origin !== base.origin)
        throw new StowageError('CONFIG_INVALID_VALUE', {
          found: `${file}: requests.${at}.path is ${JSON.stringify(path.slice(0, 80))}`,
          expected: `a path on ${base.origin}`,
        })
      return {
        name: name ?? `${method} ${url.pathname}`,
        weight,
        url,
        method,
        headers: given,
        body:
          bodyFile === undefined
            ? body === undefined
              ? undefined
              : Buffer.from(body)
            : await readBody(resolve(dirname(file), bodyFile)),
      }
    }),
  )
}

const readBody = async (path: string): Promise<Buffer> => {
  try {
    const { size } = await stat(path)
    if (size > BODY_BYTES_AT_MOST) throw new RangeError(`${size} bytes, ${BODY_BYTES_AT_MOST} at most`)
    return await readFile(path)
  } catch (cause) {
    throw new StowageError('FILE_UNREADABLE', { found: `${path} (${messageOf(cause)})` }, { cause })
  }
}

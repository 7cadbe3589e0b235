import { generate } from 'selfsigned'
import { systemClock } from '../../clock/clock.ts'

export interface Certificates {
  /** the authority that clients trust */
  readonly caPem: string
  readonly certPem: string
  readonly keyPem: string
}

const isAddress = (host: string): boolean => /^[\d.]+$/.test(host) || host.includes(':')

/**
 * An authority of our own and a server certificate for this machine's loopback names, good for ten years. By the machine's
 * time, not the simulation's: that is what clients check it against.
 */
export const makeCertificates = async (host: string): Promise<Certificates> => {
  const notBeforeDate = new Date(systemClock.nowMs() - 3_600_000)
  const notAfterDate = new Date(systemClock.nowMs() + 10 * 365 * 86_400_000)
  const common = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256', notBeforeDate, notAfterDate } as const
  const ca = await generate([{ name: 'commonName', value: 'stowage-simulation-ca' }], {
    ...common,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, digitalSignature: true, critical: true },
    ],
  })
  const hosts = [...new Set(['localhost', 'kubernetes', 'kubernetes.default.svc', '127.0.0.1', '::1', host])]
  const server = await generate([{ name: 'commonName', value: 'stowage-simulation' }], {
    ...common,
    ca: { key: ca.private, cert: ca.cert },
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: hosts.map((name) => (isAddress(name) ? { type: 7, ip: name } : { type: 2, value: name })),
      },
    ],
  })
  return { caPem: ca.cert, certPem: server.cert, keyPem: server.private }
}

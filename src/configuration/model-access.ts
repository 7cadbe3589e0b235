/** Whether an address is this machine's own: no server there asks who we are, or for money. */
export const isLoopback = (address: string): boolean => {
  const { hostname } = new URL(address)
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

/** Whether there is a language model that may be asked. */
export const hasModel = ({
  endpoint,
  token,
}: {
  readonly endpoint: string
  readonly token?: string | undefined
}): boolean => token !== undefined || isLoopback(endpoint)

import { z } from 'zod'
import { isPolicyFile } from '../policies/formula/policy-file.ts'
import { policyNames } from '../policies/registry.ts'

const spelled = (name: string): string => name.replaceAll('-', '_')

/** The name of a policy in a settings file, with hyphens or underscores, as the policy calls itself; or `formula:FILE`. */
export const policyName = z.string().transform((value, context) => {
  if (isPolicyFile(value)) return value
  const known = policyNames.find((name) => spelled(name) === spelled(value))
  if (known !== undefined) return known
  context.addIssue({ code: 'custom', message: `expected one of ${policyNames.join(', ')}, formula:FILE` })
  return z.NEVER
})

import { policyContract } from './contract.ts'
import { createPolicy, policyNames } from './registry.ts'

for (const name of policyNames)
  policyContract(name, () => createPolicy(name), {
    drawsLots: name === 'random',
    readsPlacedPods: name === 'fgd' || name === 'dual_price',
  })

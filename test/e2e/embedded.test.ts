import { endToEnd } from './cases.ts'
import { startEmbedded } from './cluster.ts'

endToEnd('the embedded API server', false, startEmbedded)

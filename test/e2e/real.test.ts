import { realControlPlane } from '../real-control-plane.ts'
import { endToEnd } from './cases.ts'
import { startReal } from './cluster.ts'

endToEnd('a real kube-apiserver', realControlPlane.skip, startReal)

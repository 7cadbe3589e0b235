// node bin/run.mjs FILE [ARGUMENTS]: for the npm scripts that are no verbs of the command line (tests, benchmarks).
import { launch } from './launch.mjs'

const [file, ...args] = process.argv.slice(2)
await launch(file, args)

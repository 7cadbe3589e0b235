/** Known heuristics in the language of formulas: where a search for better ones starts. */
export const HEURISTIC_FORMULAS: readonly { readonly name: string; readonly formula: string }[] = [
  {
    // Novikov et al., AlphaEvolve, 2025; as in ../borg.ts: a pod without cpu or memory divides by 0, which is 0.
    name: 'borg',
    formula:
      '-(request.cpu / free.cpu + request.memory / free.memory + request.memory / free.memory / (request.cpu / free.cpu) + request.cpu / free.cpu / (request.memory / free.memory))',
  },
  { name: 'least_loaded', formula: 'free.cpu / capacity.cpu + free.memory / capacity.memory' },
  {
    name: 'resource_balanced',
    formula: '0.35 * (free.cpu / capacity.cpu) + 0.35 * (free.memory / capacity.memory) - 0.3 * (pods / max_pods)',
  },
  { name: 'most_allocated', formula: '-(free.cpu / capacity.cpu) - free.memory / capacity.memory' },
  {
    name: 'best_fit',
    formula: '-(free.cpu - request.cpu) - (free.memory - request.memory) / 4 - 8 * (free.gpu - request.gpu)',
  },
  {
    name: 'dot_product',
    formula: 'request.cpu * free.cpu + request.memory * free.memory / 16 + request.gpu * free.gpu',
  },
]

// result: the words of a row's result, as src/ops/sampling.ts has them; for
// `// @include "result.wgsl"`.
const RESULT_FIELDS = 48u;
const RESULT_WRITTEN = 0u;
const RESULT_ID = 1u;
const RESULT_LOG_PROBABILITY = 2u;
const RESULT_STATE = 3u;
const RESULT_POSITION = 4u;
const RESULT_TOP = 5u;
const RESULT_TOP_IDS = 8u;
const RESULT_TOP_LOG_PROBABILITIES = 28u;
const MOST_TOP_TOKENS = 20u;

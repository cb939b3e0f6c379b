/**
 * What a stage of PPO tells while it goes on: plain data.
 *
 * @module
 */

/** What an iteration was, by the names that TRL gives them. */
export interface PpoMetrics {
  /** Episodes so far. */
  readonly episode: number;
  /** Log-ratio of policy and reference, summed over a response, mean over episodes; nats. */
  readonly "objective/kl": number;
  /** -log-probability, summed over a response, mean over episodes; nats. */
  readonly "objective/entropy": number;
  /** What the divergence costs, mean over episodes. */
  readonly "objective/non_score_reward": number;
  /** Score with what the divergence costs, mean over episodes. */
  readonly "objective/rlhf_reward": number;
  /** What the reward said, with the penalty for a missing end, mean over episodes. */
  readonly "objective/scores": number;
  /** Weight of the divergence. */
  readonly "objective/kl_coef": number;
  /** -Σ p log p of the policy over the vocabulary, mean over tokens and updates; nats. */
  readonly "policy/entropy_avg": number;
  /** Half the squared log-ratio of new and old policy, mean over tokens and updates. */
  readonly "policy/approxkl_avg": number;
  /** Share of tokens whose ratio was clipped. */
  readonly "policy/clipfrac_avg": number;
  /** Mean over tokens and updates. */
  readonly "loss/policy_avg": number;
  /** Mean over tokens and updates. */
  readonly "loss/value_avg": number;
  /** Share of tokens whose value was clipped. */
  readonly "val/clipfrac_avg": number;
  /** Probability under the new policy over that under the old one, mean over tokens and updates. */
  readonly "val/ratio": number;
  /** Variance of the updates' mean ratios. */
  readonly "val/ratio_var": number;
  /** Responses that ended by themselves. */
  readonly "val/num_eos_tokens": number;
  /** Responses without a token before their end. */
  readonly "val/num_empty": number;
  /** Tokens of a response, its end among them, mean over episodes. */
  readonly "val/response_tokens": number;
  /** Learning rate of the policy. */
  readonly lr: number;
  /** Norm of the policy's gradient before clipping, mean over updates. */
  readonly "grad_norm/policy": number;
  /** Norm of the value model's gradient before clipping, mean over updates. */
  readonly "grad_norm/value": number;
  /** Loss of the pre-training text in nats a token; only with the mix. */
  readonly "loss/ptx_avg"?: number;
  /** Norm of the weighted pre-training gradient over that of PPO; only with the mix. */
  readonly "grad_norm/ptx_ratio"?: number;
  /** Tokens of responses a second of rollout. */
  readonly rollout_tokens_per_second: number;
  /** Shares of the iteration's time. */
  readonly "time/rollout": number;
  /** Of the reference, the value model and the reward. */
  readonly "time/scoring": number;
  /** Of the updates. */
  readonly "time/update": number;
  /** Milliseconds of the iteration. */
  readonly "time/iteration_ms": number;
}

/** An evaluation on held-out prompts, with the weights that are served. */
export interface PpoEvaluation {
  /** Mean of the scores. */
  readonly "eval/scores": number;
  /** Log-ratio to the reference, summed over a response, mean over prompts; nats. */
  readonly "eval/kl": number;
  /** Share of the responses that end by themselves. */
  readonly "eval/ended": number;
}

/** What happened. A step is an iteration; those counted "from 1" say how many are done. */
export type PpoEvent =
  /** Responses are being written. */
  | {
    readonly kind: "rollout";
    readonly step: number;
    readonly ended: number;
    readonly episodes: number;
  }
  /** The reference or the value model looks at them. */
  | {
    readonly kind: "scoring";
    readonly step: number;
    readonly done: number;
    readonly episodes: number;
  }
  /** An update was queued; counted from 1. */
  | {
    readonly kind: "update";
    readonly step: number;
    readonly update: number;
    readonly updates: number;
  }
  /** An iteration is done; counted from 1. */
  | { readonly kind: "step"; readonly step: number; readonly metrics: PpoMetrics }
  | { readonly kind: "evaluation"; readonly step: number; readonly metrics: PpoEvaluation }
  /** A table of prompts with the responses of the reference and of the policy. */
  | { readonly kind: "sample"; readonly step: number; readonly text: string }
  /** Something looks wrong, and what may help. */
  | { readonly kind: "diagnosis"; readonly step: number; readonly text: string }
  | { readonly kind: "saved"; readonly step: number };

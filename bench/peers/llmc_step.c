// Trains llm.c's GPT-2 on the CPU, a step for each line on stdin.
//
//   llmc_step CHECKPOINT BATCHES B T
//
// bench/peers/llmc.ts builds it with a checkout of llm.c (https://github.com/karpathy/llm.c) on the
// include path: model, checkpoint, optimiser and its settings are those of train_gpt2.c. BATCHES has
// for each step B*T inputs, then B*T targets, as 32-bit integers. A step prints {"loss", "ms"}; the
// milliseconds are of what train_gpt2.c times, but for its reader of tokens.

#define TESTING // leaves the main of train_gpt2.c out
#include "train_gpt2.c"

int main(int argc, char *argv[]) {
    if (argc != 5) {
        fprintf(stderr, "usage: llmc_step CHECKPOINT BATCHES B T\n");
        return 2;
    }
    int B = atoi(argv[3]);
    int T = atoi(argv[4]);
    GPT2 model;
    gpt2_build_from_checkpoint(&model, argv[1]);
    FILE *batches = fopenCheck(argv[2], "rb");
    size_t count = (size_t)B * T;
    int *tokens = (int *)mallocCheck(2 * count * sizeof(int)); // inputs (B, T), targets (B, T)

    for (int step = 1; getchar() != EOF; step++) {
        freadCheck(tokens, sizeof(int), 2 * count, batches);
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        gpt2_forward(&model, tokens, tokens + count, B, T);
        gpt2_zero_grad(&model);
        gpt2_backward(&model);
        gpt2_update(&model, 1e-4f, 0.9f, 0.999f, 1e-8f, 0.0f, step);
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ms = 1e3 * (end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) / 1e6;
        printf("{\"loss\": %.9g, \"ms\": %.3f}\n", model.mean_loss, ms);
        fflush(stdout);
    }

    fcloseCheck(batches);
    free(tokens);
    gpt2_free(&model);
    return 0;
}

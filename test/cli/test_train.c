/* train as a user runs it, on a small random model: it learns, it resumes to the bit, it says what is wrong. */
#include "program.h"
#include "../encode/fixture.h"
#include "encode/encode.h"
#include <math.h>
#include <signal.h>
#include <stdbool.h>

enum { EXAMPLES = 96, DEV = 40, WORDS = 5 };
static char llama[4096], bert[4096], folder[4096], examples[4200], dev[4200];

static const char *in_folder(const char *name)
{
    static char path[4][4300];
    static int next;
    char *out = path[next++ & 3];
    snprintf(out, sizeof path[0], "%.4000s/%.250s", folder, name);
    return out;
}

/* Query: every second word of the passage. */
static void make_pair(struct buf *query, struct buf *passage, uint32_t seed)
{
    uint32_t ids[2 * WORDS];
    char word[3];
    fixture_words(passage, ids, (size_t)2 * WORDS, seed * 7919u + 1u);
    buf_reset(query);
    for (int i = 0; i < 2 * WORDS; i += 2) {
        fixture_word(word, ids[i]);
        assert_int_equal(buf_printf(query, "%s%s", i ? " " : "", word), 0);
    }
}

static void write_examples(const char *name, uint32_t n, bool scores)
{
    struct buf query = {0}, passage = {0}, other = {0};
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    for (uint32_t i = 0; i < n; i++) {
        char high[32] = "";
        const char *low = scores ? ", \"score\": 0.2" : "";
        if (scores)
            snprintf(high, sizeof high, ", \"score\": %.1f", 0.5 + 0.1 * (i % 5));
        make_pair(&query, &passage, i);
        fixture_words(&other, NULL, (size_t)2 * WORDS, 77777u + i);
        fprintf(f,
                "{\"query_id\": \"q%u\", \"query\": \"%s\", \"positive_passages\": [{\"docid\": \"p%u\", \"title\": "
                "\"\", \"text\": \"%s\"%s}], \"negative_passages\": [{\"docid\": \"n%u\", \"title\": \"\", \"text\": "
                "\"%s\"%s}]}\n",
                i, query.data, i, passage.data, high, i, other.data, low);
    }
    assert_int_equal(fclose(f), 0);
    buf_release(&query);
    buf_release(&passage);
    buf_release(&other);
}

static void write_dev(void)
{
    struct buf query = {0}, passage = {0};
    char path[4400];
    snprintf(path, sizeof path, "%s/qrels", dev);
    assert_int_equal(file_make_folder(path), TRAWL_OK);
    snprintf(path, sizeof path, "%s/corpus.jsonl", dev);
    FILE *corpus = fopen(path, "w");
    snprintf(path, sizeof path, "%s/queries.jsonl", dev);
    FILE *queries = fopen(path, "w");
    snprintf(path, sizeof path, "%s/qrels/test.tsv", dev);
    FILE *qrels = fopen(path, "w");
    assert_true(corpus && queries && qrels);
    fputs("query-id\tcorpus-id\tscore\n", qrels);
    for (uint32_t i = 0; i < DEV; i++) {
        make_pair(&query, &passage, 5000 + i);
        fprintf(corpus, "{\"_id\": \"d%u\", \"title\": \"\", \"text\": \"%s\"}\n", i, passage.data);
        fprintf(queries, "{\"_id\": \"q%u\", \"text\": \"%s\"}\n", i, query.data);
        fprintf(qrels, "q%u\td%u\t1\n", i, i);
    }
    assert_int_equal(fclose(corpus) | fclose(queries) | fclose(qrels), 0);
    buf_release(&query);
    buf_release(&passage);
}

static int set_up(void **state)
{
    (void)state;
    fixture_model(llama, "llama", "train-llama");
    fixture_model(bert, "bert", "train-bert");
    scratch_path(folder, (long)getpid(), "train");
    assert_int_equal(file_make_folder(folder), TRAWL_OK);
    snprintf(examples, sizeof examples, "%s/train.jsonl", folder);
    snprintf(dev, sizeof dev, "%s/dev", folder);
    write_examples(examples, EXAMPLES, true);
    write_dev();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_remove(llama);
    fixture_remove(bert);
    fixture_remove(folder);
    buf_release(&program_out);
    buf_release(&program_err);
    return 0;
}

#define COMMON "--precision f32 --batch 8 --lora-rank 4 --lr 5e-3 --save-every 5 --eval-every 10 --learn-temperature "

static int train(const char *run, const char *model, const char *more)
{
    char line[8000];
    snprintf(line, sizeof line, "train --output %.1000s --model %.1000s --data %.1000s " COMMON "%.3000s",
             in_folder(run), model, examples, more);
    return program(line);
}

static void read_model(struct buf *out, const char *run)
{
    char name[400];
    snprintf(name, sizeof name, "%s/model/adapter_model.safetensors", run);
    assert_int_equal(file_read(out, in_folder(name), 1 << 24), TRAWL_OK);
}

static void assert_same_model(const char *run, const char *other)
{
    struct buf a = {0}, b = {0};
    read_model(&a, run);
    read_model(&b, other);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.data, b.data, a.n);
    buf_release(&a);
    buf_release(&b);
}

/* A number of the metrics' line of a step; NAN where it has none. */
static double metric(const char *run, int step, const char *key)
{
    char name[400], start[64], *line = NULL, wanted[64];
    size_t cap = 0;
    double value = NAN;
    snprintf(name, sizeof name, "%s/metrics.jsonl", run);
    snprintf(start, sizeof start, "{\"step\": %d,", step);
    snprintf(wanted, sizeof wanted, "\"%s\": ", key);
    FILE *f = fopen(in_folder(name), "r");
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        const char *at = strncmp(line, start, strlen(start)) ? NULL : strstr(line, wanted);
        if (at)
            value = strtod(at + strlen(wanted), NULL);
    }
    free(line);
    fclose(f);
    return value;
}

/* nDCG@10 of the model in RUN/model, by the encoder and plain sorting. */
static double ndcg_of(const char *run)
{
    char name[400];
    struct encoder *e;
    struct buf query = {0}, passage = {0};
    struct encoder_options options = {.precision = "f32"};
    snprintf(name, sizeof name, "%s/model", run);
    assert_int_equal(encoder_open(&e, in_folder(name), &options), TRAWL_OK);
    size_t D = encoder_contract(e, ENCODER_DOCUMENT)->dims;
    float *docs = calloc(DEV * D, sizeof *docs), *q = calloc(DEV * D, sizeof *q);
    for (uint32_t i = 0; i < DEV; i++) {
        make_pair(&query, &passage, 5000 + i);
        struct text_view a = {passage.data, passage.n}, b = {query.data, query.n};
        assert_int_equal(encoder_encode(e, docs + i * D, &a, 1, ENCODER_DOCUMENT), TRAWL_OK);
        assert_int_equal(encoder_encode(e, q + i * D, &b, 1, ENCODER_QUERY), TRAWL_OK);
    }
    double sum = 0.0;
    for (size_t i = 0; i < DEV; i++) {
        double own = 0.0;
        size_t better = 0;
        for (size_t d = 0; d < D; d++)
            own += (double)q[i * D + d] * (double)docs[i * D + d];
        for (size_t j = 0; j < DEV; j++) {
            double s = 0.0;
            for (size_t d = 0; d < D; d++)
                s += (double)q[i * D + d] * (double)docs[j * D + d];
            better += j != i && s > own;
        }
        sum += better < 10 ? 1.0 / log2((double)better + 2.0) : 0.0;
    }
    free(docs);
    free(q);
    buf_release(&query);
    buf_release(&passage);
    encoder_close(e);
    return sum / DEV;
}

static void it_learns_and_the_model_is_what_was_judged(void **state)
{
    (void)state;
    char more[4400];
    snprintf(more, sizeof more, "--steps 60 --dev %s", dev);
    assert_int_equal(train("plain", llama, more), 0);
    double first = metric("plain", 1, "loss"), last = metric("plain", 60, "loss"), best = 0.0;
    assert_true(last < 0.7 * first);
    for (int step = 0; step <= 60; step += 10)
        best = fmax(best, metric("plain", step, "dev_ndcg_cut_10"));
    assert_true(best > metric("plain", 0, "dev_ndcg_cut_10"));
    assert_true(fabs(ndcg_of("plain") - best) < 1e-6);
    assert_true(metric("plain", 60, "temperature") != metric("plain", 1, "temperature"));
    assert_true(file_exists(in_folder("plain/report.html")));
    assert_true(file_exists(in_folder("plain/config.json")));
}

static void threads_and_passes_do_not_show(void **state)
{
    (void)state;
    assert_int_equal(train("one", llama, "--steps 12 --threads 1 --lora-dropout 0.2"), 0);
    assert_int_equal(train("three", llama, "--steps 12 --threads 3 --lora-dropout 0.2"), 0);
    assert_same_model("one", "three");
}

/* Runs until the metrics hold `lines` lines, then kill -9. */
static void train_and_kill(const char *run, const char *more, size_t lines)
{
    char command[8000];
    snprintf(command, sizeof command,
             "exec '%s' train --quiet --output %.1000s --model %.1000s --data %.1000s " COMMON "%.1000s",
             getenv("TRAWL_PROGRAM"), in_folder(run), llama, examples, more);
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    char name[400];
    snprintf(name, sizeof name, "%s/metrics.jsonl", run);
    for (int tries = 0; tries < 100000; tries++) {
        struct buf text = {0};
        size_t n = 0;
        if (file_exists(in_folder(name)) && file_read(&text, in_folder(name), 1 << 24) == TRAWL_OK)
            for (size_t i = 0; i < text.n; i++)
                n += text.data[i] == '\n';
        buf_release(&text);
        if (n >= lines || waitpid(child, NULL, WNOHANG) == child)
            break;
        usleep(500);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void killed_runs_end_with_the_same_bits(void **state)
{
    static const size_t when[] = {1, 4, 7, 13, 22, 33};
    char more[4400], resume[4600];
    (void)state;
    snprintf(more, sizeof more, "--steps 40 --accumulate 2 --lora-dropout 0.1 --dev %s", dev);
    assert_int_equal(train("whole", llama, more), 0);
    for (size_t i = 0; i < sizeof when / sizeof *when; i++) {
        char run[32];
        snprintf(run, sizeof run, "killed%zu", i);
        train_and_kill(run, more, when[i]);
        snprintf(resume, sizeof resume, "train --output %s --resume", in_folder(run));
        assert_int_equal(program(resume), 0);
        assert_same_model("whole", run);
        for (int step = 1; step <= 40; step++)
            assert_true(metric(run, step, "loss") == metric("whole", step, "loss"));
    }
}

static void an_adapter_is_trained_on(void **state)
{
    (void)state;
    assert_int_equal(train("stage1", llama, "--steps 20"), 0);
    char model[4300];
    snprintf(model, sizeof model, "%s", in_folder("stage1/model"));
    assert_int_equal(train("stage2", model, "--steps 20 --warmup 0"), 0);
    assert_true(metric("stage2", 1, "loss") < 0.8 * metric("stage1", 1, "loss"));
    char line[4400];
    snprintf(line, sizeof line, "inspect %s", in_folder("stage2/model"));
    assert_int_equal(program(line), 0);
    assert_out_has("train-llama"); /* its base is the first one's */
}

/* The vectors of the merged model are those of the adapter on its base, to the bit. */
static void a_merged_model_encodes_the_same(void **state)
{
    char line[8000];
    struct buf a = {0}, b = {0};
    (void)state;
    assert_int_equal(train("merging", bert, "--steps 10 --query-prompt 'aa ' --lora-targets q,v,down"), 0);
    snprintf(line, sizeof line, "merge --adapter %s --output %s", in_folder("merging/model"), in_folder("merged"));
    assert_int_equal(program(line), 0);
    assert_int_equal(program(line), 2);
    assert_err_has("exists already");
    static const char *const models[] = {"merging/model", "merged"};
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line, "encode --model %s --input %.4200s --side query --precision f32 --output %s",
                 in_folder(models[i]), dev, in_folder("v.npy"));
        assert_int_equal(program(line), 0);
        assert_int_equal(file_read(i ? &b : &a, in_folder("v.npy"), 1 << 24), TRAWL_OK);
    }
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.data, b.data, a.n);
    buf_release(&a);
    buf_release(&b);
    snprintf(line, sizeof line, "merge --adapter %s --model %s --output %s", in_folder("merging/model"), llama,
             in_folder("merged2"));
    assert_int_equal(program(line), 1);
    assert_err_has("is not the base");
    snprintf(line, sizeof line, "merge --adapter %s --output %s", bert, in_folder("merged2"));
    assert_int_equal(program(line), 2);
    assert_err_has("is no adapter");
}

static void whole_models_are_trained(void **state)
{
    (void)state;
    assert_int_equal(train("full", bert, "--steps 20 --full --lr 2e-3 --weight-decay 0.01 --schedule cosine"), 0);
    assert_true(metric("full", 20, "loss") < metric("full", 1, "loss"));
    assert_true(file_exists(in_folder("full/model/modules.json")));
    assert_true(ndcg_of("full") > 0.0);
}

static void other_objectives_train(void **state)
{
    static const char *const options[] = {"--objective kl",
                                          "--objective margin-mse",
                                          "--objective cosent",
                                          "--objective infonce+0.5*kl --candidates allnegs --symmetric",
                                          "--objective infonce --matryoshka 8,32:0.5 --pooling last",
                                          "--objective infonce --attention bidirectional --query-prompt 'aa ab ' "
                                          "--no-pool-prompt --max-length 12 --similarity dot --temperature 20",
                                          "--objective infonce --negatives 0 --dims 16"};
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        char run[32];
        snprintf(run, sizeof run, "objective%zu", i);
        char more[1000];
        snprintf(more, sizeof more, "--steps 48 %s", options[i]);
        assert_int_equal(train(run, llama, more), 0);
        double first = 0.0, last = 0.0; /* means of four batches */
        for (int k = 1; k <= 4; k++) {
            first += metric(run, k, "loss");
            last += metric(run, 44 + k, "loss");
        }
        if (!(last < first))
            fail_msg("%s: loss %g at first, %g at last", options[i], first / 4.0, last / 4.0);
    }
    char more[5000];
    snprintf(more, sizeof more, "--steps 8 --objective gist --guide %s", bert);
    assert_int_equal(train("gist", llama, more), 0);
}

static void a_file_of_options_is_read(void **state)
{
    (void)state;
    fixture_text(folder, "options.json", "{\"steps\": 3, \"pooling\": \"last\", \"lr\": 0.001, \"symmetric\": true}");
    char line[8000];
    snprintf(line, sizeof line, "train --output %s --model %s --data %.1000s --batch 8 --config %s", in_folder("file"),
             llama, examples, in_folder("options.json"));
    assert_int_equal(program(line), 0);
    assert_err_has("3 steps");
    fixture_text(folder, "options.json", "{\"stepz\": 3}");
    snprintf(line, sizeof line, "train --output %s --model %s --data %.1000s --config %s", in_folder("file2"), llama,
             examples, in_folder("options.json"));
    assert_int_equal(program(line), 2);
    assert_err_has("'stepz' is no option of training");
}

static void what_is_wrong_is_said(void **state)
{
    char line[8000];
    (void)state;
    assert_int_equal(train("bad", llama, "--batch 97"), 1);
    assert_err_has("96 examples, a batch needs 97");
    assert_int_equal(train("bad", llama, "--batch 1 --negatives 0"), 2);
    assert_err_has("'--batch' larger");
    assert_int_equal(train("bad", llama, "--lora-targets q,z"), 2);
    assert_err_has("unknown projection 'z'");
    assert_int_equal(train("bad", llama, "--objective gist"), 2);
    assert_err_has("needs '--guide'");
    assert_int_equal(train("bad", llama, "--lr 0"), 2);
    assert_err_has("'--lr' must be above 0");
    assert_int_equal(train("bad", llama, "--max-length 2000"), 1);
    assert_err_has("positions");
    assert_int_equal(train("none", llama, "--resume"), 1);
    assert_err_has("no run to resume");
    assert_int_equal(train("bad", llama, "--dev /nowhere"), 1);
    assert_err_has("/nowhere");
    snprintf(line, sizeof line, "train --output %s --data %.1000s", in_folder("bad"), examples);
    assert_int_equal(program(line), 2);
    assert_err_has("'--model' is missing");

    fixture_text(folder, "columns.jsonl", "{\"query\": \"aa\", \"passages\": []}\n");
    snprintf(line, sizeof line, "train --output %s --model %s --data %s --batch 1", in_folder("bad"), llama,
             in_folder("columns.jsonl"));
    assert_int_equal(program(line), 1);
    assert_err_has("columns.jsonl' line 1");

    char saved[4200];
    memcpy(saved, examples, sizeof saved);
    snprintf(examples, sizeof examples, "%s/no-scores.jsonl", folder);
    write_examples(examples, 20, false);
    assert_int_equal(train("bad", llama, "--objective kl"), 1);
    assert_err_has("has no score of its positive, which the objective needs");
    write_examples(examples, 1, false);
    assert_int_equal(train("bad", llama, ""), 1);
    assert_err_has("1 example,");
    memcpy(examples, saved, sizeof saved);
    assert_false(file_exists(in_folder("bad/checkpoints/last.pack"))); /* nothing in the way of a better try */
    assert_int_equal(train("bad", llama, "--steps 2"), 0);
    assert_int_equal(train("bad", llama, "--steps 2"), 2);
    assert_err_has("holds a run already");
    assert_int_equal(train("bad", llama, "--steps 3 --resume"), 1);
    assert_err_has("another '--steps'");
}

/* A checkpoint from elsewhere, and data that changed since. */
static void what_does_not_belong_is_refused(void **state)
{
    char line[8000], saved[4200];
    (void)state;
    memcpy(saved, examples, sizeof saved);
    snprintf(examples, sizeof examples, "%s/changing.jsonl", folder);
    write_examples(examples, 40, false);
    assert_int_equal(train("mine", llama, "--steps 6"), 0);
    assert_int_equal(train("other", llama, "--steps 7"), 0);
    snprintf(line, sizeof line, "train --output %s --resume", in_folder("mine"));
    write_examples(examples, 41, false);
    assert_int_equal(program(line), 1);
    assert_err_has("data of the run is");
    write_examples(examples, 40, false);
    char command[9000];
    snprintf(command, sizeof command, "cp %s %s", in_folder("other/checkpoints/last.pack"),
             in_folder("mine/checkpoints/last.pack"));
    assert_int_equal(system(command), 0);
    assert_int_equal(program(line), 1);
    assert_err_has("checkpoint of another configuration");
    memcpy(examples, saved, sizeof saved);
}

/* Learning rates beyond reason end in a message, not in a model of NaN. */
static void divergence_stops(void **state)
{
    (void)state;
    assert_int_equal(train("diverged", llama, "--steps 60 --lr 1e30 --clip 0 --warmup 0"), 1);
    assert_err_has("not finite");
    assert_false(file_exists(in_folder("diverged/model")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_learns_and_the_model_is_what_was_judged),
        cmocka_unit_test(threads_and_passes_do_not_show),
        cmocka_unit_test(killed_runs_end_with_the_same_bits),
        cmocka_unit_test(an_adapter_is_trained_on),
        cmocka_unit_test(a_merged_model_encodes_the_same),
        cmocka_unit_test(whole_models_are_trained),
        cmocka_unit_test(other_objectives_train),
        cmocka_unit_test(a_file_of_options_is_read),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(what_does_not_belong_is_refused),
        cmocka_unit_test(divergence_stops),
    };
    return cmocka_run_group_tests_name("train", tests, set_up, tear_down);
}

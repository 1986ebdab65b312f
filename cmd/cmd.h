/*
 * What the subcommands share. Each cmd_<name>.c parses its options, calls its stage, and says what was done:
 *
 *   int cmd_encode(int argc, char **argv)
 *   {
 *       struct trawl_encode_options options;
 *       struct trawl_encode_report report;
 *       int code;
 *       if (!cmd_begin(&options, "encode", argc, argv, &code))
 *           return code;
 *       enum trawl_status status = trawl_encode(&options, &report);
 *       if (!status)
 *           cmd_note("%zu texts, %zu cut at the maximum length", report.n_texts, report.n_cut);
 *       return cmd_end(&options, "encode", status);
 *   }
 *
 * and has a row in COMMANDS below.
 */
#ifndef CMD_H
#define CMD_H
#include <stdbool.h>
#include <stdint.h>
#include <trawl.h>

/* X(name, group): the subcommands in the order of --help. */
#define COMMANDS(X)                                                                                                    \
    X(encode, "from documents to hits")                                                                                \
    X(index, "from documents to hits")                                                                                 \
    X(delete, "from documents to hits")                                                                                \
    X(search, "from documents to hits")                                                                                \
    X(eval, "from documents to hits")                                                                                  \
    X(mine, "from data to models")                                                                                     \
    X(train, "from data to models")                                                                                    \
    X(merge, "from data to models")                                                                                    \
    X(tokenize, "use a model by itself")                                                                               \
    X(score, "use a model by itself")                                                                                  \
    X(generate, "use a model by itself")                                                                               \
    X(inspect, "look inside")                                                                                          \
    X(bench, "look inside")

#define X(name, group) int cmd_##name(int argc, char **argv);
COMMANDS(X)
#undef X

/*
 * Sets presets and parses the line into *options; --threads, --quiet, progress and warnings are set up on the way.
 * False when there is nothing more to do (--help was printed, or the line was wrong and that was said): exit *code.
 */
bool cmd_begin(void *options, const char *name, int argc, char **argv, int *code);
/* Says why on standard error if it failed, checks that standard output was written; returns the exit status. */
int cmd_end(void *options, const char *name, enum trawl_status status);
/* A line for the reader on standard error, such as the closing line; nothing with --quiet. */
void cmd_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "s" behind what is counted, unless there is one. */
const char *cmd_s(uint64_t n);
/* True where a person watches: colours and marks are welcome. */
bool cmd_stdout_is_terminal(void);

/* The options of every subcommand, for help and man pages. */
extern const struct trawl_stage cmd_common;
/* Draws progress on standard error (progress.c). */
void cmd_show_progress(bool wanted);
void cmd_clear_progress(void);

#endif

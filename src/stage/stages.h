/*
 * The list of stages; stage_<name> is made beside its options table in src/stage/<name>.c. Subcommands, man pages and
 * completions follow this list.
 */
#ifndef STAGE_STAGES_H
#define STAGE_STAGES_H
#include <trawl.h>

/* X(name), in the order of the lines through the house. */
#define STAGE_LIST(X)                                                                                                  \
    X(tokenize)                                                                                                        \
    X(score)                                                                                                           \
    X(generate)                                                                                                        \
    X(encode)                                                                                                          \
    X(index)                                                                                                           \
    X(delete)                                                                                                          \
    X(search)                                                                                                          \
    X(eval)                                                                                                            \
    X(mine)                                                                                                            \
    X(train)                                                                                                           \
    X(merge)                                                                                                           \
    X(inspect)                                                                                                         \
    X(bench)

#define X(name) extern const struct trawl_stage stage_##name;
STAGE_LIST(X)
#undef X

#endif

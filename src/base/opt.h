/*
 * Options: parsing of a command line, --help, man page and shell completion, all from the rows of a struct trawl_stage.
 * Stages declare their table beside their options struct:
 *
 *   static const struct trawl_option options[] = {
 *       OPT_STRING(struct trawl_encode_options, model, "model", "M", NULL, "model folder, GGUF file or name"),
 */
#ifndef BASE_OPT_H
#define BASE_OPT_H
#include "buf.h"
#include <stdbool.h>

#define OPT_ROW(type, member, kind_, name_, arg_, preset_, choices_, help_, required_, letter_)                        \
    {                                                                                                                  \
        .name = name_, .kind = kind_, .offset = offsetof(type, member), .arg = arg_, .preset = preset_,                \
        .choices = choices_, .help = help_, .required = required_, .letter = letter_                                   \
    }
#define OPT_FLAG(type, member, name, help) OPT_ROW(type, member, TRAWL_OPTION_FLAG, name, NULL, NULL, NULL, help, 0, 0)
#define OPT_STRING(type, member, name, arg, preset, help)                                                              \
    OPT_ROW(type, member, TRAWL_OPTION_STRING, name, arg, preset, NULL, help, 0, 0)
#define OPT_NEED(type, member, name, arg, help)                                                                        \
    OPT_ROW(type, member, TRAWL_OPTION_STRING, name, arg, NULL, NULL, help, 1, 0)
#define OPT_LIST(type, member, name, arg, help)                                                                        \
    OPT_ROW(type, member, TRAWL_OPTION_LIST, name, arg, NULL, NULL, help, 0, 0)
#define OPT_COUNT(type, member, name, arg, preset, help)                                                               \
    OPT_ROW(type, member, TRAWL_OPTION_COUNT, name, arg, preset, NULL, help, 0, 0)
#define OPT_NUMBER(type, member, name, arg, preset, help)                                                              \
    OPT_ROW(type, member, TRAWL_OPTION_NUMBER, name, arg, preset, NULL, help, 0, 0)
#define OPT_CHOICE(type, member, name, preset, choices, help)                                                          \
    OPT_ROW(type, member, TRAWL_OPTION_CHOICE, name, NULL, preset, choices, help, 0, 0)

/*
 * Parses argv[1..argc) (argv[0] is the subcommand): --name value, --name=value, -x value, flags, --no-name for flags,
 * "--" ends options; positionals fill the rows without a name in order, the last one may be a LIST. Options that the
 * stage does not have are looked for in `common`, a table of what every subcommand takes (NULL: none), and set in
 * common_options. Unknown options name the nearest known one. USAGE on any error; --help is left to opt_wants_help.
 */
MUST_USE enum trawl_status opt_parse(void *options, const struct trawl_stage *stage, void *common_options,
                                     const struct trawl_stage *common, int argc, char **argv);
bool opt_wants_help(int argc, char **argv);
/*
 * A stage's own copy of the options it was given: members beyond the caller's `size` get their presets. LIST members
 * are shared with the caller's struct, so the copy is not released.
 */
MUST_USE enum trawl_status opt_adopt(void *own, const struct trawl_stage *stage, const void *given);
/* The name most like the given one, NULL when none is near; names may hold NULLs. */
const char *opt_nearest(const char *name, size_t n, const char *const *names, size_t n_names);
/* USAGE for an option the stage does not have, with the nearest that it has. */
MUST_USE enum trawl_status opt_unknown(const struct trawl_stage *stage, const char *name, size_t n);

/* The texts; `common` rows, where not NULL, are listed after the stage's own. */
MUST_USE enum trawl_status opt_help(struct buf *out, const struct trawl_stage *stage, const struct trawl_stage *common,
                                    size_t columns);
/* In scdoc's language. */
MUST_USE enum trawl_status opt_man(struct buf *out, const struct trawl_stage *stage, const struct trawl_stage *common);
MUST_USE enum trawl_status opt_complete_bash(struct buf *out, const struct trawl_stage *const *stages, size_t n,
                                             const struct trawl_stage *common);

#endif

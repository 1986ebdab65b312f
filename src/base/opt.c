/* Options: values into structs, and the command line. Texts made from the tables (help, man, completion) are in doc.c.
 */
#include "opt.h"
#include "mem.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 256, MAX_NAME = 64 };

static void *member(void *options, const struct trawl_option *option)
{
    return (char *)options + option->offset;
}

/* How messages call the option. */
static const char *shown(const struct trawl_option *option, char text[MAX_NAME + 4])
{
    const char *name = option->name ? option->name : option->arg;
    size_t n = strnlen(name, MAX_NAME), dashes = option->name ? 2 : 0;
    memcpy(text, "--", dashes);
    memcpy(text + dashes, name, n);
    text[dashes + n] = '\0';
    return text;
}

static enum trawl_status set_count(size_t *out, const char *name, const char *value)
{
    static const struct {
        char letter;
        size_t factor;
    } suffixes[] = {{'k', 1000}, {'m', 1000000}, {'g', 1000000000}};
    char *end = NULL;
    errno = 0;
    unsigned long long n = isdigit((unsigned char)*value) ? strtoull(value, &end, 10) : 0;
    if (!end || (*end && end[1]))
        return fail(TRAWL_USAGE, "%s: '%s' is no count (digits, then k, m or g if wanted)", name, value);
    size_t factor = *end ? 0 : 1, product;
    for (size_t i = 0; *end && i < sizeof suffixes / sizeof *suffixes; i++)
        if (tolower((unsigned char)*end) == suffixes[i].letter)
            factor = suffixes[i].factor;
    if (!factor)
        return fail(TRAWL_USAGE, "%s: '%s' is no count (digits, then k, m or g if wanted)", name, value);
    if (errno || __builtin_mul_overflow((size_t)n, factor, &product))
        return fail(TRAWL_USAGE, "%s: '%s' is too large", name, value);
    *out = product;
    return TRAWL_OK;
}

static enum trawl_status set_number(double *out, const char *name, const char *value)
{
    char *end;
    double x = strtod(value, &end);
    if (end == value || *end || !isfinite(x))
        return fail(TRAWL_USAGE, "%s: '%s' is no number", name, value);
    *out = x;
    return TRAWL_OK;
}

static enum trawl_status set_flag(bool *out, const char *name, const char *value)
{
    static const char *const yes[] = {"true", "yes", "1", "on"}, *const no[] = {"false", "no", "0", "off"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (!strcmp(value, yes[i]) || !strcmp(value, no[i])) {
            *out = !strcmp(value, yes[i]);
            return TRAWL_OK;
        }
    }
    return fail(TRAWL_USAGE, "%s: '%s' is neither true nor false", name, value);
}

/* The choice as it stands in the table, up to its '|'; *out is made to point at the caller's equal text. */
static enum trawl_status set_choice(const char **out, const struct trawl_option *option, const char *name,
                                    const char *value)
{
    size_t n = strlen(value);
    for (const char *choice = option->choices; choice; choice = strchr(choice, '|') ? strchr(choice, '|') + 1 : NULL) {
        if (n == strcspn(choice, "|") && !memcmp(choice, value, n)) {
            *out = value;
            return TRAWL_OK;
        }
    }
    return fail(TRAWL_USAGE, "%s: '%s' is not one of %s", name, value, option->choices);
}

/* The array's room is the next power of two from 4 on. */
static enum trawl_status add_item(struct trawl_list *list, const char *value)
{
    size_t n = list->n_items;
    if (!n || (n >= 4 && !(n & (n - 1)))) {
        size_t room = n ? n * 2 : 4, bytes;
        const char **items =
            __builtin_mul_overflow(room, sizeof *items, &bytes) ? NULL : realloc((void *)list->items, bytes);
        if (!items)
            return fail(TRAWL_NOMEM, "no memory for %zu list items", room);
        list->items = items;
    }
    list->items[list->n_items++] = value;
    return TRAWL_OK;
}

static enum trawl_status set_value(void *options, const struct trawl_option *option, const char *value)
{
    char text[MAX_NAME + 4];
    const char *name = shown(option, text);
    void *where = member(options, option);
    switch (option->kind) {
    case TRAWL_OPTION_FLAG:
        return set_flag(where, name, value);
    case TRAWL_OPTION_STRING:
        *(const char **)where = value;
        return TRAWL_OK;
    case TRAWL_OPTION_LIST:
        return add_item(where, value);
    case TRAWL_OPTION_COUNT:
        return set_count(where, name, value);
    case TRAWL_OPTION_NUMBER:
        return set_number(where, name, value);
    case TRAWL_OPTION_CHOICE:
        return set_choice(where, option, name, value);
    }
    return fail(TRAWL_USAGE, "%s: unknown kind of option", name);
}

static const struct trawl_option *find_name(const struct trawl_stage *stage, const char *name, size_t n)
{
    for (size_t i = 0; i < stage->n_options; i++) {
        const char *own = stage->options[i].name;
        if (own && strlen(own) == n && !memcmp(own, name, n))
            return &stage->options[i];
    }
    return NULL;
}

/* ---- the public functions ---- */

void trawl_options_init(void *options, const struct trawl_stage *stage)
{
    memset(options, 0, stage->options_bytes);
    memcpy(options, &stage->options_bytes, sizeof stage->options_bytes);
    for (size_t i = 0; i < stage->n_options; i++)
        if (stage->options[i].preset && set_value(options, &stage->options[i], stage->options[i].preset))
            abort(); /* a preset that its own row refuses is our bug */
}

enum trawl_status trawl_options_set(void *options, const struct trawl_stage *stage, const char *name, const char *value)
{
    const struct trawl_option *option = find_name(stage, name, strlen(name));
    for (size_t i = 0; !option && i < stage->n_options; i++)
        if (!stage->options[i].name && !strcmp(stage->options[i].arg, name))
            option = &stage->options[i];
    if (!option)
        return opt_unknown(stage, name, strlen(name));
    return set_value(options, option, value);
}

void trawl_options_release(void *options, const struct trawl_stage *stage)
{
    for (size_t i = 0; options && i < stage->n_options; i++) {
        if (stage->options[i].kind != TRAWL_OPTION_LIST)
            continue;
        struct trawl_list *list = member(options, &stage->options[i]);
        free((void *)list->items);
        *list = (struct trawl_list){0};
    }
}

enum trawl_status opt_adopt(void *own, const struct trawl_stage *stage, const void *given)
{
    size_t bytes = 0;
    if (given)
        memcpy(&bytes, given, sizeof bytes);
    if (bytes < sizeof bytes)
        return fail(TRAWL_USAGE, "options of '%s' without their size (call trawl_options_init first)", stage->name);
    trawl_options_init(own, stage);
    memcpy(own, given, bytes < stage->options_bytes ? bytes : stage->options_bytes);
    memcpy(own, &stage->options_bytes, sizeof stage->options_bytes);
    return TRAWL_OK;
}

/* ---- the command line ---- */

/* Edit distance of two short names, one row at a time; insertions, deletions, replacements cost 1. */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t row[MAX_NAME + 1];
    if (n > MAX_NAME || m > MAX_NAME)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]), other = (row[j - 1] < row[j] ? row[j - 1] : row[j]) + 1;
            diagonal = row[j];
            row[j] = replace < other ? replace : other;
        }
    }
    return row[m];
}

const char *opt_nearest(const char *name, size_t n, const char *const *names, size_t n_names)
{
    const char *best = NULL;
    size_t least = n / 3 + 2; /* farther ones are no help */
    for (size_t i = 0; i < n_names; i++) {
        if (!names[i])
            continue;
        size_t length = strlen(names[i]), cost = distance(name, n, names[i], length);
        if (n >= 2 && length > n && !memcmp(names[i], name, n))
            cost = 1;
        if (cost < least) {
            least = cost;
            best = names[i];
        }
    }
    return best;
}

enum trawl_status opt_unknown(const struct trawl_stage *stage, const char *name, size_t n)
{
    const char *names[MAX_OPTIONS];
    size_t n_names = stage->n_options < MAX_OPTIONS ? stage->n_options : MAX_OPTIONS;
    for (size_t i = 0; i < n_names; i++)
        names[i] = stage->options[i].name;
    const char *nearest = opt_nearest(name, n, names, n_names);
    if (nearest)
        return fail(TRAWL_USAGE, "unknown option '--%.*s' (did you mean '--%s'? 'trawl %s --help' lists all)", (int)n,
                    name, nearest, stage->name);
    return fail(TRAWL_USAGE, "unknown option '--%.*s' ('trawl %s --help' lists all)", (int)n, name, stage->name);
}

struct parse {
    void *options, *common_options;
    const struct trawl_stage *stage, *common;
    int argc, at;
    char **argv;
    size_t positional; /* row from which the next positional is looked for */
    bool given[MAX_OPTIONS];
};

/* An option of the stage or of the common table, with the struct that it writes to. */
struct target {
    const struct trawl_option *option;
    void *options;
};

static enum trawl_status assign(struct parse *p, struct target t, const char *value)
{
    if (t.options == p->options)
        p->given[t.option - p->stage->options] = true;
    return set_value(t.options, t.option, value);
}

static struct target target_named(const struct parse *p, const char *name, size_t n)
{
    struct target t = {find_name(p->stage, name, n), p->options};
    if (!t.option && p->common)
        t = (struct target){find_name(p->common, name, n), p->common_options};
    return t;
}

/* Whether a word is an option by its full name: then a value was forgotten before it. */
static bool names_option(const struct parse *p, const char *word)
{
    return !strncmp(word, "--", 2) && target_named(p, word + 2, strcspn(word + 2, "=")).option;
}

/* The value of an option that was written without '=': the next word. */
static enum trawl_status assign_next(struct parse *p, struct target t)
{
    char text[MAX_NAME + 4];
    if (t.option->kind == TRAWL_OPTION_FLAG)
        return assign(p, t, "true");
    if (p->at + 1 >= p->argc || names_option(p, p->argv[p->at + 1]))
        return fail(TRAWL_USAGE, "%s needs a value (%s)", shown(t.option, text),
                    t.option->choices ? t.option->choices : t.option->arg);
    return assign(p, t, p->argv[++p->at]);
}

static enum trawl_status parse_long(struct parse *p, const char *name)
{
    size_t n = strcspn(name, "=");
    struct target t = target_named(p, name, n);
    if (t.option)
        return name[n] ? assign(p, t, name + n + 1) : assign_next(p, t);
    if (!strncmp(name, "no-", 3)) {
        t = target_named(p, name + 3, n - 3);
        if (t.option && t.option->kind == TRAWL_OPTION_FLAG && !name[n])
            return assign(p, t, "false");
    }
    return opt_unknown(p->stage, name, n);
}

static const struct trawl_option *find_letter(const struct trawl_stage *stage, char letter)
{
    for (size_t i = 0; stage && i < stage->n_options; i++)
        if (stage->options[i].letter && stage->options[i].letter == letter)
            return &stage->options[i];
    return NULL;
}

static struct target target_lettered(const struct parse *p, char letter)
{
    struct target t = {find_letter(p->stage, letter), p->options};
    return t.option ? t : (struct target){find_letter(p->common, letter), p->common_options};
}

static enum trawl_status parse_short(struct parse *p, const char *word)
{
    struct target t = target_lettered(p, word[1]);
    if (!t.option)
        return fail(TRAWL_USAGE, "unknown option '%s' ('trawl %s --help' lists all; '--' ends the options)", word,
                    p->stage->name);
    if (!word[2])
        return assign_next(p, t);
    if (t.option->kind == TRAWL_OPTION_FLAG)
        return fail(TRAWL_USAGE, "'-%c' takes no value: '%s'", word[1], word);
    return assign(p, t, word + 2 + (word[2] == '='));
}

static enum trawl_status parse_positional(struct parse *p, const char *word)
{
    while (p->positional < p->stage->n_options && p->stage->options[p->positional].name)
        p->positional++;
    if (p->positional == p->stage->n_options)
        return fail(TRAWL_USAGE, "unexpected argument '%s' (a value with spaces needs quotes)", word);
    const struct trawl_option *option = &p->stage->options[p->positional];
    p->positional += option->kind != TRAWL_OPTION_LIST;
    return assign(p, (struct target){option, p->options}, word);
}

static enum trawl_status check_required(const struct parse *p)
{
    char text[MAX_NAME + 4];
    for (size_t i = 0; i < p->stage->n_options; i++)
        if (p->stage->options[i].required && !p->given[i])
            return fail(TRAWL_USAGE, "%s is missing: %s", shown(&p->stage->options[i], text),
                        p->stage->options[i].help);
    return TRAWL_OK;
}

/* "-" is standard input, "-5" a number. */
static bool is_option(const struct parse *p, const char *word)
{
    return word[0] == '-' && word[1] && (!isdigit((unsigned char)word[1]) || target_lettered(p, word[1]).option);
}

enum trawl_status opt_parse(void *options, const struct trawl_stage *stage, void *common_options,
                            const struct trawl_stage *common, int argc, char **argv)
{
    struct parse p = {.options = options,
                      .common_options = common_options,
                      .stage = stage,
                      .common = common,
                      .argc = argc,
                      .argv = argv};
    bool ended = false;
    if (stage->n_options > MAX_OPTIONS)
        return fail(TRAWL_USAGE, "'%s' has more than %d options", stage->name, MAX_OPTIONS);
    for (p.at = 1; p.at < argc; p.at++) {
        const char *word = argv[p.at];
        if (!ended && !strcmp(word, "--"))
            ended = true;
        else if (!ended && !strncmp(word, "--", 2))
            TRY(parse_long(&p, word + 2));
        else if (!ended && is_option(&p, word))
            TRY(parse_short(&p, word));
        else
            TRY(parse_positional(&p, word));
    }
    return check_required(&p);
}

bool opt_wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}
